//! Random sequences, against a map that does what the trait says.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::generate::writes;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Claim { key: usize, owner: usize, lasts: Millis, write: Write, settle: Millis },
    Settle { key: usize, owner: usize, record: Record },
    Release { key: usize, owner: usize },
    Pass(Millis),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || (0..3_usize, 0..3_usize);
    let step = prop_oneof![
        4 => (who(), 1..100_u64, writes(), 0..200_u64).prop_map(|((key, owner), lasts, write, settle)| {
            Step::Claim { key, owner, lasts, write, settle }
        }),
        3 => (who(), records()).prop_map(|((key, owner), record)| Step::Settle { key, owner, record }),
        1 => who().prop_map(|(key, owner)| Step::Release { key, owner }),
        2 => (1..80_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Default)]
struct Remembered {
    record: Record,
    held: Option<Held>,
    left: Vec<Pending>,
}

impl Remembered {
    /// None where the trait leaves it open: an owner that claims again after its claim ended.
    fn claim(&mut self, request: &ClaimRequest) -> Option<Claimed> {
        match self.held.take() {
            Some(held) if held.owner == request.owner.0 && held.until <= request.now => {
                self.held = Some(held);
                return None;
            }
            Some(held) if held.owner != request.owner.0 && held.until > request.now => {
                let until = held.until;
                self.held = Some(held);
                return Some(Claimed::No { until });
            }
            Some(held) if held.owner != request.owner.0 => self.left.push(held.left_behind(&self.record)),
            _ => {}
        }
        self.held = Some(Held::new(request));
        let pending = self.record.pending.iter().chain(&self.left).cloned().collect();
        Some(Claimed::Yes(Record { pending, ..self.record.clone() }))
    }

    fn owned_by(&self, owner: Owner) -> bool {
        self.held.as_ref().is_some_and(|held| held.owner == owner.0)
    }
}

/// What a store may tidy up, or tell in another order, does not count.
fn plain(claimed: Claimed, now: Millis) -> Claimed {
    let Claimed::Yes(mut record) = claimed else { return claimed };
    record.pending.retain(|pending| pending.until > now);
    record.pending.sort_by_key(|pending| format!("{pending:?}"));
    record.pending.dedup();
    Claimed::Yes(record)
}

async fn run(store: &dyn Store, steps: Vec<Step>) -> Result<(), String> {
    let keys: [_; 3] = std::array::from_fn(|_| fresh_key());
    let owners: [_; 3] = std::array::from_fn(|_| fresh_owner());
    let mut model: HashMap<usize, Remembered> = HashMap::new();
    let mut now = now();
    for (at, step) in steps.into_iter().enumerate() {
        let (expected, found) = match step {
            Step::Pass(millis) => {
                now += millis;
                continue;
            }
            Step::Claim { key, owner, lasts, write, settle } => {
                let request = ClaimRequest { owner: owners[owner], until: now + lasts, now, write, settle };
                let Some(expected) = model.entry(key).or_default().claim(&request) else { continue };
                let found = store.claim(&keys[key], request).await.map_err(|error| error.to_string())?;
                (format!("{:?}", plain(expected, now)), format!("{:?}", plain(found, now)))
            }
            Step::Settle { key, owner, record } => {
                let remembered = model.entry(key).or_default();
                let mut expected = Settled::Lost;
                if remembered.owned_by(owners[owner]) {
                    *remembered = Remembered { record: record.clone(), ..Remembered::default() };
                    expected = Settled::Yes;
                }
                let found = store.settle(&keys[key], owners[owner], record).await;
                (format!("{expected:?}"), format!("{:?}", found.map_err(|error| error.to_string())?))
            }
            Step::Release { key, owner } => {
                let remembered = model.entry(key).or_default();
                if remembered.owned_by(owners[owner]) {
                    remembered.held = None;
                }
                store.release(&keys[key], owners[owner]).await.map_err(|error| error.to_string())?;
                continue;
            }
        };
        if expected != found {
            return Err(format!("step {at}: expected {expected}, found {found}"));
        }
    }
    Ok(())
}

/// proptest's own runner can't await; this one can, and makes what fails smaller too.
pub(crate) async fn agrees_with_the_model(store: Arc<dyn Store>, scale: Scale) {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..scale.cases {
        let mut tree = steps().new_tree(&mut runner).unwrap();
        let Err(mut error) = run(&*store, tree.current()).await else { continue };
        let mut smallest = tree.current();
        let mut failed = true;
        for _ in 0..300 {
            if !(if failed { tree.simplify() } else { tree.complicate() }) {
                break;
            }
            let outcome = run(&*store, tree.current()).await;
            failed = outcome.is_err();
            if let Err(smaller) = outcome {
                (error, smallest) = (smaller, tree.current());
            }
        }
        panic!("{error}\nafter {smallest:#?}");
    }
}
