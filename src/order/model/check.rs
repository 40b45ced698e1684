//! The steps and the properties.

use stateright::{Model, Property};

use super::Mirror;
use super::world::{Claim, Landed, Late, Running, SETTLE, TICK, Without, World};
use crate::order::record::Etag;
use crate::order::walk::{Action, End, Event};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The CDR makes its next change and notifies.
    Change,
    /// The sender's delivery reaches a replica.
    Deliver {
        change: usize,
        replica: usize,
    },
    /// A replica does what its walk wants.
    Do {
        replica: usize,
    },
    /// A write is carried out, and its answer lost.
    Mute {
        replica: usize,
    },
    /// A write is given up on before it is carried out.
    Delay {
        replica: usize,
    },
    /// The first attempt of a write is cut, carried out or on its way, and the write sent once more.
    Repeat {
        replica: usize,
        landed: bool,
    },
    /// The order store does not answer, whether it did what it was asked for or not.
    StoreFails {
        replica: usize,
        done: bool,
    },
    /// The CDR, or HealthLake, can't be read.
    ReadFails {
        replica: usize,
    },
    Crash {
        replica: usize,
    },
    /// A delayed write is carried out, or never.
    Land {
        late: usize,
    },
    Vanish {
        late: usize,
    },
    Tick,
}

impl Model for Mirror {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        self.worlds()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.made < world.script.len() {
            steps.push(Step::Change);
        }
        for (replica, running) in world.replicas.iter().enumerate() {
            match running {
                None => {
                    for change in &world.undelivered {
                        let copy = world.replicas.iter().flatten().any(|running| running.change == *change);
                        if !copy || world.copies > 0 {
                            steps.push(Step::Deliver { change: *change, replica });
                        }
                    }
                }
                Some(running) => {
                    if is_enabled(world, running) {
                        steps.push(Step::Do { replica });
                    }
                    if world.faults > 0 {
                        steps.push(Step::Crash { replica });
                        let writes = matches!(running.action, Action::Put { .. } | Action::Delete { .. });
                        if writes && is_enabled(world, running) {
                            steps.extend([Step::Mute { replica }, Step::Delay { replica }]);
                            steps.extend([true, false].map(|landed| Step::Repeat { replica, landed }));
                        }
                        match running.action {
                            Action::Claim { .. } | Action::Settle(_) | Action::Release => {
                                steps.extend([true, false].map(|done| Step::StoreFails { replica, done }));
                            }
                            Action::AskCdr | Action::ReadHealthLake => {
                                steps.push(Step::ReadFails { replica });
                            }
                            _ => {}
                        }
                    }
                }
            }
            // The replicas are alike: while both are idle, the first one takes it.
            if running.is_none() {
                break;
            }
        }
        for late in 0..world.late.len() {
            steps.extend([Step::Land { late }, Step::Vanish { late }]);
        }
        if world.ticks > 0 && !world.undelivered.is_empty() {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Change => {
                world.undelivered.push(world.made);
                world.made += 1;
            }
            Step::Deliver { change, replica } => {
                let copy = world.replicas.iter().flatten().any(|running| running.change == change);
                world.copies -= u8::from(copy);
                let taken: Vec<u128> = world.replicas.iter().flatten().map(|running| running.owner).collect();
                let owner = (1..).find(|owner| !taken.contains(owner) && !holds(&world, *owner))?;
                world.replicas[replica] = Some(world.start(change, self.has_cdr, owner));
            }
            Step::Do { replica } => self.act(&mut world, replica, false)?,
            Step::Repeat { replica, landed } => {
                world.faults -= 1;
                let (write, if_match) = written(&world, world.replicas[replica].as_ref()?)?;
                if landed {
                    world.land(write, if_match);
                } else {
                    world.late.push(Late { write, if_match, until: world.now + SETTLE });
                }
                self.act(&mut world, replica, true)?;
            }
            Step::StoreFails { replica, done } => {
                world.faults -= 1;
                let mut running = world.replicas[replica].take()?;
                let event = match running.action.clone() {
                    Action::Claim { write } => {
                        if done {
                            world.claim(&mut running, &write, self.without);
                        }
                        // As `forward::drive` does it.
                        if !running.sent || self.without == Some(Without::KeptClaims) {
                            world.settle(&running, None, self.without);
                        }
                        Event::StoreFailed
                    }
                    Action::Settle(record) => {
                        if done {
                            world.settle(&running, Some(record), self.without);
                        }
                        Event::StoreFailed
                    }
                    _ if done => return None,
                    _ => Event::Released,
                };
                apply(&mut world, &mut running, event);
                world.replicas[replica] = Some(running);
            }
            Step::ReadFails { replica } => {
                world.faults -= 1;
                let mut running = world.replicas[replica].take()?;
                let event = match running.action {
                    Action::AskCdr => Event::CdrFailed,
                    _ => Event::HealthLakeFailed,
                };
                apply(&mut world, &mut running, event);
                world.replicas[replica] = Some(running);
            }
            Step::Mute { replica } => {
                world.faults -= 1;
                let mut running = world.replicas[replica].take()?;
                let (change, if_match) = written(&world, &running)?;
                running.sent = true;
                world.land(change, if_match);
                apply(&mut world, &mut running, Event::Unknown);
                world.replicas[replica] = Some(running);
            }
            Step::Delay { replica } => {
                world.faults -= 1;
                let mut running = world.replicas[replica].take()?;
                let (write, if_match) = written(&world, &running)?;
                running.sent = true;
                world.late.push(Late { write, if_match, until: world.now + SETTLE });
                apply(&mut world, &mut running, Event::Unknown);
                world.replicas[replica] = Some(running);
            }
            Step::Crash { replica } => {
                world.faults -= 1;
                world.replicas[replica] = None;
            }
            Step::Land { late } => {
                let late = world.late.remove(late);
                world.land(late.write, late.if_match);
            }
            Step::Vanish { late } => {
                world.late.remove(late);
            }
            Step::Tick => {
                world.ticks -= 1;
                world.now += TICK;
                let now = world.now;
                // The protocol's one assumption about HealthLake: a write lands within this time or not at all.
                world.late.retain(|late| late.if_match.is_some() || late.until > now);
            }
        }
        Some(world)
    }

    /// Without a rule the replicas may write for ever.
    fn within_boundary(&self, world: &World) -> bool {
        world.etag <= 7
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("versions never go back", |_, world: &World| !world.went_back),
            Property::always("nothing deleted reappears", |_, world: &World| !world.reappeared),
            Property::always("no re-creation is taken away", |model: &Self, world: &World| {
                !model.has_cdr || !world.taken_away
            }),
            // Without a CDR deletes may be in doubt; updates and what the filter keeps out never are.
            Property::always("quiet means equal", |model: &Self, world: &World| {
                !model.has_cdr && world.has_deletes() || !world.quiet() || world.equal()
            }),
            Property::always("quiet means that nothing filtered is there", |_, world: &World| {
                let filtered = world.cdr().is_some_and(|change| world.is_filtered(change));
                !filtered || !world.quiet() || !world.alive()
            }),
            // Without a CDR a doubtful re-creation is not sent: safe against resurrection first.
            Property::sometimes("it becomes quiet and equal", |model: &Self, world: &World| {
                world.quiet() && (world.equal() || !model.has_cdr)
            }),
        ]
    }
}

/// A crashed claimant's owner is not used again.
fn holds(world: &World, owner: u128) -> bool {
    world.claim.as_ref().is_some_and(|held| held.owner == owner)
}

fn is_enabled(world: &World, running: &Running) -> bool {
    match &running.action {
        // Looking at a claim that is still held changes nothing.
        Action::Wait { until } => *until <= world.now || world.claim.is_none(),
        // A paused replica's unconditional write is cut off by its deadline; a pause longer than what the next
        // claimant waits for is not survived by any protocol without a condition.
        Action::Put { if_match: None, .. } | Action::Delete { if_match: None } => {
            world.now < running.claimed_until + SETTLE
        }
        _ => true,
    }
}

/// Which change the write that a walk wants would show.
fn written(world: &World, running: &Running) -> Option<(usize, Option<Etag>)> {
    match &running.action {
        Action::Put { if_match, current: true } => Some((running.current?, *if_match)),
        Action::Put { if_match, current: false } => Some((running.change, *if_match)),
        Action::Delete { if_match } => {
            // A DELETE is that of the delivery, or the one that the CDR told of.
            let told = running.current.filter(|change| world.is_delete(*change));
            Some((told.unwrap_or(running.change), *if_match))
        }
        _ => None,
    }
}

fn apply(world: &mut World, running: &mut Running, event: Event) {
    running.action = running.walk.apply(event, world.now);
}

impl Mirror {
    /// `earlier`: a first attempt of the write was cut.
    fn act(&self, world: &mut World, replica: usize, earlier: bool) -> Option<()> {
        let mut running = world.replicas[replica].take()?;
        let event = match running.action.clone() {
            Action::Claim { write } => match world.claim(&mut running, &write, self.without) {
                Claim::Yes(record) => Event::Claimed(record),
                Claim::Held(until) => Event::Held { until },
            },
            Action::AskCdr => {
                running.current = world.cdr();
                let found = running.current.and_then(|change| Some((change, world.version(change)?)));
                match found {
                    Some((change, version)) if world.is_filtered(change) => Event::CdrHasFiltered(version),
                    Some((_, version)) => Event::CdrHas(version),
                    None => Event::CdrGone,
                }
            }
            Action::Put { .. } | Action::Delete { .. } => {
                let (change, if_match) = written(world, &running)?;
                running.sent = true;
                match world.land(change, if_match) {
                    Landed::Took => {
                        running.answered = true;
                        if self.without == Some(Without::OutcomesBeforeAnswers) {
                            world.undelivered.retain(|change| *change != running.change);
                        }
                        let etag = world.alive().then_some(Etag(world.etag));
                        Event::Took { etag, earlier }
                    }
                    Landed::Gone => {
                        running.answered = true;
                        Event::Gone { earlier }
                    }
                    Landed::Precondition => Event::Precondition { earlier },
                }
            }
            Action::ReadHealthLake => Event::AtHealthLake(world.alive().then_some(Etag(world.etag))),
            Action::Wait { .. } => Event::Woke,
            Action::Settle(record) => match world.settle(&running, Some(record), self.without) {
                true => Event::Settled,
                false => Event::Lost,
            },
            Action::Release => {
                world.settle(&running, None, self.without);
                Event::Released
            }
            Action::Done(end) => {
                let settled = match end {
                    End::Superseded | End::Filtered => true,
                    End::Answered => running.answered,
                    End::CdrFailed | End::StoreFailed | End::Unsettled => false,
                };
                if settled {
                    world.undelivered.retain(|change| *change != running.change);
                }
                return Some(());
            }
        };
        apply(world, &mut running, event);
        world.replicas[replica] = Some(running);
        Some(())
    }
}
