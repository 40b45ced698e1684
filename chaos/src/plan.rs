//! What is changed, in which order: it follows from the seed alone.

use fastrand::Rng;

use crate::kinds;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A create, an update or a re-creation
    Put {
        large: bool,
    },
    /// A create under an id that HAPI chooses
    Post,
    Delete,
}

#[derive(Debug)]
pub struct Subject {
    pub kind: &'static str,
    pub raw: bool,
    /// None: HAPI chooses it
    pub id: Option<String>,
}

/// Changes that are made by one hand, without a pause.
#[derive(Debug)]
pub struct Step {
    pub what: &'static str,
    pub changes: Vec<(usize, Change)>,
    /// As one transaction, of different resources
    pub together: bool,
}

pub struct Plan {
    pub subjects: Vec<Subject>,
    pub steps: Vec<Step>,
}

struct Maker {
    random: Rng,
    subjects: Vec<Subject>,
    alive: Vec<bool>,
    large: f64,
}

/// Of all changes, so many are a megabyte large
const LARGE: f64 = 0.005;

pub fn plan(seed: u64, changes: usize) -> Plan {
    let mut random = Rng::with_seed(seed);
    let kinds = kinds::all();
    let subjects = (0..(changes / 14).max(2 * kinds.len()))
        .map(|n| {
            let kind = kinds[n % kinds.len()];
            let raw = kind == "Binary" && random.bool();
            Subject { kind, raw, id: Some(format!("s{seed}-{n}")) }
        })
        .collect::<Vec<_>>();
    let mut maker = Maker { random, alive: vec![false; subjects.len()], subjects, large: LARGE };
    let (mut steps, mut made) = (Vec::new(), 0);
    while made < changes {
        let mut step = maker.step();
        step.changes.truncate(changes - made);
        made += step.changes.len();
        steps.push(step);
    }
    Plan { subjects: maker.subjects, steps }
}

impl Maker {
    fn step(&mut self) -> Step {
        let one = |what, change: (usize, Change)| Step { what, changes: vec![change], together: false };
        let at = self.random.usize(..self.subjects.len());
        match self.random.u32(..100) {
            0..44 => {
                let what = if self.alive[at] { "update" } else { "create" };
                one(what, (at, self.put(at)))
            }
            44..56 => {
                let changes = (0..self.random.usize(4..12)).map(|_| (at, self.put(at))).collect();
                Step { what: "storm of updates", changes, together: false }
            }
            56..70 if self.alive[at] => one("delete", (at, self.delete(at))),
            70..80 if self.alive[at] => {
                let mut changes = Vec::new();
                for _ in 0..self.random.usize(1..4) {
                    changes.extend([(at, self.delete(at)), (at, self.put(at))]);
                }
                Step { what: "deleted and re-created at once", changes, together: false }
            }
            56..80 => one("create", (at, self.put(at))),
            80..94 => self.transaction(),
            _ => {
                let kind = *self.random.choice(&kinds::all()).unwrap_or(&"Patient");
                // A raw Binary is written by its own id.
                self.subjects.push(Subject { kind, raw: false, id: None });
                self.alive.push(true);
                one("create by POST", (self.subjects.len() - 1, Change::Post))
            }
        }
    }

    fn transaction(&mut self) -> Step {
        let mut chosen: Vec<usize> =
            (0..self.random.usize(3..7)).map(|_| self.random.usize(..self.subjects.len())).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let changes = chosen
            .into_iter()
            .map(|at| {
                let delete = self.alive[at] && self.random.f64() < 0.25;
                (at, if delete { self.delete(at) } else { self.put(at) })
            })
            .collect();
        Step { what: "transaction", changes, together: true }
    }

    fn put(&mut self, at: usize) -> Change {
        self.alive[at] = true;
        Change::Put { large: self.random.f64() < self.large }
    }

    fn delete(&mut self, at: usize) -> Change {
        self.alive[at] = false;
        Change::Delete
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_seed_decides_and_everything_asked_for_is_in_it() {
        let [one, again, other] = [7, 7, 8].map(|seed| format!("{:?}", plan(seed, 2000).steps));
        assert_eq!(one, again);
        assert_ne!(one, other);
        let plan = plan(7, 2000);
        assert_eq!(plan.steps.iter().map(|step| step.changes.len()).sum::<usize>(), 2000);
        let whats: BTreeSet<_> = plan.steps.iter().map(|step| step.what).collect();
        assert_eq!(whats.len(), 7, "{whats:?}");
        let changed: BTreeSet<_> = plan
            .steps
            .iter()
            .flat_map(|step| &step.changes)
            .map(|(at, _)| (plan.subjects[*at].kind, plan.subjects[*at].raw))
            .collect();
        assert_eq!(changed.len(), kinds::all().len() + 1, "all types, and Binaries of both forms");
        assert!(
            plan.steps.iter().flat_map(|step| &step.changes).any(|(_, c)| *c == Change::Put { large: true })
        );
    }

    /// What does not exist can't be deleted: HAPI would make no version of it.
    #[test]
    fn only_what_is_alive_is_deleted() {
        for seed in 0..20 {
            let plan = plan(seed, 500);
            let mut alive = vec![false; plan.subjects.len()];
            for (at, change) in plan.steps.iter().flat_map(|step| &step.changes) {
                assert!(*change != Change::Delete || alive[*at], "seed {seed}");
                alive[*at] = *change != Change::Delete;
            }
        }
    }
}
