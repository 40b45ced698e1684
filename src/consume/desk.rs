//! The desk between the member of the group and the workers: messages wait here by the resource they are about. One
//! resource is worked on by one worker at a time, and what has come for it meanwhile is settled by one delivery, since
//! that asks the CDR for what it has then.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ledger::{Ledger, Next, Place};
use crate::delivery::Key;

/// Messages about one resource, to be settled by one delivery.
#[derive(Debug)]
pub struct Work {
    pub key: Key,
    pub places: Vec<Place>,
}

/// What became of a delivery, as far as the messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The verdict is final and the mirror needs nothing more.
    Settled(String),
    /// The verdict is final, and HealthLake does not have it.
    Refused(String),
    /// No final verdict: the messages stay where they are.
    Open(String),
}

/// Messages by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub settled: BTreeMap<String, u64>,
    pub refused: BTreeMap<String, u64>,
    pub open: BTreeMap<String, u64>,
    /// Not understood, and kept as a dead letter
    pub kept: u64,
    /// Not understood, and passed over
    pub skipped: u64,
}

#[derive(Default)]
pub struct Desk {
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    waiting: HashMap<Key, Vec<Place>>,
    /// Resources that wait and that nobody works on
    queue: VecDeque<Key>,
    running: HashSet<Key>,
    counts: Counts,
    joined: bool,
    closed: bool,
    fault: Option<String>,
}

impl Desk {
    pub fn assigned(&self, partitions: &[i32]) {
        let mut state = self.state();
        state.joined = true;
        for partition in partitions {
            state.ledger.assigned(*partition);
        }
    }

    pub fn gone(&self, partitions: &[i32]) {
        let mut state = self.state();
        let State { ledger, waiting, queue, .. } = &mut *state;
        for partition in partitions {
            ledger.gone(*partition);
        }
        waiting.retain(|_, places| {
            places.retain(|place| ledger.holds(*place));
            !places.is_empty()
        });
        queue.retain(|key| waiting.contains_key(key));
    }

    /// The group has said at least once which partitions are ours, be it none.
    pub fn has_joined(&self) -> bool {
        self.state().joined
    }

    pub fn take(&self, partition: i32, offset: i64, leader_epoch: Option<i32>) -> Place {
        self.state().ledger.take(partition, offset, leader_epoch)
    }

    pub fn add(&self, key: Key, place: Place) {
        let mut state = self.state();
        let State { waiting, queue, running, .. } = &mut *state;
        let places = waiting.entry(key.clone()).or_default();
        if places.is_empty() && !running.contains(&key) {
            queue.push_back(key);
        }
        places.push(place);
        drop(state);
        self.work.notify_one();
    }

    /// A message that was not understood is done with.
    pub fn passed(&self, place: Place, kept: bool) {
        let mut state = self.state();
        state.ledger.done(place);
        match kept {
            true => state.counts.kept += 1,
            false => state.counts.skipped += 1,
        }
    }

    /// Waits for work; none once the desk is closed.
    pub async fn next(&self) -> Option<Work> {
        loop {
            let mut notified = std::pin::pin!(self.work.notified());
            notified.as_mut().enable();
            if let Some(work) = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                state.start()
            } {
                // There may be more for the others.
                self.work.notify_one();
                return Some(work);
            }
            notified.await;
        }
    }

    pub fn finish(&self, work: Work, outcome: &Outcome) {
        let mut state = self.state();
        let State { ledger, waiting, queue, running, counts, .. } = &mut *state;
        let ours: Vec<Place> = work.places.into_iter().filter(|place| ledger.holds(*place)).collect();
        let (count, verdict, done) = match outcome {
            Outcome::Settled(verdict) => (&mut counts.settled, verdict, true),
            Outcome::Refused(verdict) => (&mut counts.refused, verdict, true),
            Outcome::Open(verdict) => (&mut counts.open, verdict, false),
        };
        if !ours.is_empty() {
            *count.entry(verdict.clone()).or_default() += ours.len() as u64;
        }
        for place in ours.into_iter().filter(|_| done) {
            ledger.done(place);
        }
        running.remove(&work.key);
        if waiting.contains_key(&work.key) {
            queue.push_back(work.key);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Whether somebody still has use for it: its messages may have gone to another member.
    pub fn wants(&self, work: &Work) -> bool {
        let state = self.state();
        !state.closed && work.places.iter().any(|place| state.ledger.holds(*place))
    }

    /// Nothing can be forwarded as things are; the first reason counts.
    pub fn fail(&self, reason: String) {
        self.state().fault.get_or_insert(reason);
    }

    pub fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }

    /// No work is given out any more; what is worked on may still be finished.
    pub fn close(&self) {
        self.state().closed = true;
        self.work.notify_waiters();
    }

    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.running.is_empty()
    }

    pub fn due(&self) -> Vec<(i32, Next)> {
        self.state().ledger.due()
    }

    pub fn committed(&self, what: &[(i32, Next)]) {
        self.state().ledger.committed(what);
    }

    pub fn held(&self) -> usize {
        self.state().ledger.held()
    }

    pub fn first_open(&self, partition: i32) -> Option<i64> {
        self.state().ledger.first_open(partition)
    }

    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&mut self) -> Option<Work> {
        let key = self.queue.pop_front()?;
        let places = self.waiting.remove(&key)?;
        self.running.insert(key.clone());
        Some(Work { key, places })
    }
}

impl Counts {
    pub fn sum(of: &BTreeMap<String, u64>) -> u64 {
        of.values().sum()
    }

    /// Final verdicts, and what was passed over: no more will come of these.
    pub fn ended(&self) -> u64 {
        Self::sum(&self.settled) + Self::sum(&self.refused) + self.kept + self.skipped
    }
}

/// `mirrored 3, already-gone 1`
pub fn list(of: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = of.iter().map(|(verdict, n)| format!("{verdict} {n}")).collect();
    parts.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key(id: &str) -> Key {
        Key::new("Patient", id).unwrap()
    }

    fn add(desk: &Desk, id: &str, offset: i64) {
        let place = desk.take(0, offset, None);
        desk.add(key(id), place);
    }

    fn now(desk: &Desk) -> Option<Work> {
        desk.next().now_or_never().flatten()
    }

    fn mirrored() -> Outcome {
        Outcome::Settled("mirrored".into())
    }

    fn due(desk: &Desk) -> Option<i64> {
        desk.due().first().map(|(_, next)| next.offset)
    }

    #[tokio::test]
    async fn one_resource_is_worked_on_once_at_a_time_and_what_waits_is_settled_at_once() {
        let desk = Desk::default();
        desk.assigned(&[0]);
        add(&desk, "a", 0);
        let first = now(&desk).unwrap();
        add(&desk, "a", 1);
        add(&desk, "b", 2);
        add(&desk, "a", 3);
        let second = now(&desk).unwrap();
        assert_eq!(second.key, key("b"));
        assert!(now(&desk).is_none(), "a is being worked on");
        desk.finish(second, &mirrored());
        assert_eq!(due(&desk), None, "0 and 1 are open");
        desk.finish(first, &mirrored());
        assert_eq!(due(&desk), Some(1));
        let third = now(&desk).unwrap();
        assert_eq!(third.places.iter().map(|place| place.offset).collect::<Vec<_>>(), [1, 3]);
        assert!(!desk.is_idle());
        desk.finish(third, &Outcome::Refused("invalid".into()));
        assert_eq!((due(&desk), desk.is_idle(), desk.held()), (Some(4), true, 0));
        let counts = desk.counts();
        assert_eq!((counts.settled["mirrored"], counts.refused["invalid"], counts.ended()), (2, 2, 4));
    }

    #[tokio::test]
    async fn what_has_no_verdict_stays_open_and_what_went_to_another_member_is_not_worked_on() {
        let desk = Desk::default();
        desk.assigned(&[0]);
        add(&desk, "a", 0);
        let work = now(&desk).unwrap();
        desk.finish(work, &Outcome::Open("unreachable".into()));
        assert_eq!((due(&desk), desk.held(), desk.is_idle()), (None, 1, true));

        add(&desk, "b", 1);
        add(&desk, "c", 2);
        let work = now(&desk).unwrap();
        desk.gone(&[0]);
        assert!(!desk.wants(&work));
        desk.finish(work, &mirrored());
        assert!(now(&desk).is_none());
        assert_eq!((due(&desk), desk.is_idle()), (None, true));
        assert_eq!(desk.counts().settled.len(), 0, "the other member counts it");
    }

    #[tokio::test]
    async fn a_closed_desk_gives_no_work_and_still_takes_results() {
        let desk = Desk::default();
        add(&desk, "a", 0);
        add(&desk, "b", 1);
        let work = now(&desk).unwrap();
        desk.close();
        assert!(desk.next().await.is_none());
        desk.finish(work, &mirrored());
        assert_eq!(due(&desk), Some(1));
    }

    #[tokio::test]
    async fn a_poison_message_passed_over_lets_the_commit_go_on() {
        let desk = Desk::default();
        let place = desk.take(0, 0, None);
        desk.passed(place, false);
        let place = desk.take(0, 1, None);
        desk.passed(place, true);
        assert_eq!((due(&desk), desk.counts().skipped, desk.counts().kept), (Some(2), 1, 1));
    }
}
