//! Which offsets may be committed: those of each partition up to the first message that is not done with. So a message
//! is either done with, or comes again after a crash.

use std::collections::{BTreeMap, VecDeque};

/// Where a message stands. One of an assignment that has ended counts for nothing: the partition's next owner gets the
/// message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
    assignment: u64,
}

/// What a commit says of a partition: the next offset to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

#[derive(Default)]
pub struct Ledger {
    assignments: u64,
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Default)]
struct Partition {
    assignment: u64,
    /// In the order of the log; the first is not done with.
    held: VecDeque<Held>,
    next: Option<Next>,
    committed: Option<i64>,
}

struct Held {
    next: Next,
    offset: i64,
    done: bool,
}

impl Ledger {
    pub fn assigned(&mut self, partition: i32) {
        self.assignments += 1;
        let assignment = self.assignments;
        self.partitions.insert(partition, Partition { assignment, ..Partition::default() });
    }

    pub fn gone(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// A message was handed out; of a partition they come in the order of the log.
    pub fn take(&mut self, partition: i32, offset: i64, leader_epoch: Option<i32>) -> Place {
        if !self.partitions.contains_key(&partition) {
            self.assigned(partition);
        }
        let found = self.partitions.entry(partition).or_default();
        let next = Next { offset: offset + 1, leader_epoch };
        found.held.push_back(Held { next, offset, done: false });
        Place { partition, offset, assignment: found.assignment }
    }

    /// False where the assignment has ended meanwhile.
    pub fn holds(&self, place: Place) -> bool {
        self.partitions.get(&place.partition).is_some_and(|found| found.assignment == place.assignment)
    }

    pub fn done(&mut self, place: Place) {
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        if partition.assignment != place.assignment {
            return;
        }
        // In the order of the log, so of the offsets.
        if let Ok(at) = partition.held.binary_search_by_key(&place.offset, |held| held.offset) {
            partition.held[at].done = true;
        }
        while let Some(first) = partition.held.front().filter(|held| held.done) {
            partition.next = Some(first.next);
            partition.held.pop_front();
        }
    }

    /// What has advanced since the last commit.
    pub fn due(&self) -> Vec<(i32, Next)> {
        let due = |(id, partition): (&i32, &Partition)| {
            let next = partition.next.filter(|next| partition.committed != Some(next.offset))?;
            Some((*id, next))
        };
        self.partitions.iter().filter_map(due).collect()
    }

    pub fn committed(&mut self, what: &[(i32, Next)]) {
        for (id, next) in what {
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.committed = Some(next.offset);
            }
        }
    }

    /// Messages that a commit does not cover yet
    pub fn held(&self) -> usize {
        self.partitions.values().map(|partition| partition.held.len()).sum()
    }

    /// The first offset that is not done with, where one was handed out.
    pub fn first_open(&self, partition: i32) -> Option<i64> {
        let found = self.partitions.get(&partition)?;
        found.held.front().map(|held| held.offset).or_else(|| found.next.map(|next| next.offset))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn offsets(ledger: &Ledger) -> Vec<(i32, i64)> {
        ledger.due().iter().map(|(partition, next)| (*partition, next.offset)).collect()
    }

    #[test]
    fn only_what_is_done_without_a_gap_may_be_committed() {
        let mut ledger = Ledger::default();
        ledger.assigned(0);
        // The log has gaps of its own, where it was compacted.
        let places: Vec<Place> =
            [3, 4, 9].into_iter().map(|offset| ledger.take(0, offset, Some(1))).collect();
        ledger.done(places[1]);
        assert_eq!((offsets(&ledger), ledger.held()), (vec![], 3));
        ledger.done(places[0]);
        assert_eq!((offsets(&ledger), ledger.first_open(0)), (vec![(0, 5)], Some(9)));
        ledger.committed(&ledger.due());
        assert_eq!(offsets(&ledger), []);
        ledger.done(places[2]);
        ledger.done(places[2]);
        assert_eq!((offsets(&ledger), ledger.held(), ledger.first_open(0)), (vec![(0, 10)], 0, Some(10)));
        assert_eq!(ledger.due()[0].1.leader_epoch, Some(1));
    }

    #[test]
    fn what_a_former_assignment_did_counts_for_nothing() {
        let mut ledger = Ledger::default();
        ledger.assigned(0);
        let (before, other) = (ledger.take(0, 3, None), ledger.take(1, 7, None));
        ledger.gone(0);
        ledger.done(before);
        ledger.assigned(0);
        let again = ledger.take(0, 3, None);
        ledger.done(before);
        assert!(!ledger.holds(before) && ledger.holds(again));
        assert_eq!(offsets(&ledger), []);
        ledger.done(other);
        ledger.done(again);
        assert_eq!(offsets(&ledger), [(0, 4), (1, 8)]);
    }

    #[test]
    fn a_commit_never_passes_an_open_message() {
        proptest::proptest!(|(order in proptest::collection::vec(0usize..20, 0..60))| {
            let mut ledger = Ledger::default();
            let places: Vec<Place> =
                (0..20).map(|n| ledger.take(n % 3, i64::from(n), None)).collect();
            let mut done = [false; 20];
            for n in order {
                ledger.done(places[n]);
                done[n] = true;
                for (partition, next) in ledger.due() {
                    let passed = places.iter().enumerate().filter(|(_, place)| {
                        place.partition == partition && place.offset < next.offset
                    });
                    for (n, _) in passed {
                        assert!(done[n]);
                    }
                    ledger.committed(&[(partition, next)]);
                }
            }
        });
    }
}
