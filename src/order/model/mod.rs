//! The protocol checked exhaustively: two replicas, a CDR that updates, deletes and re-creates one resource, a
//! sender that keeps no order, a HealthLake whose answers get lost and whose writes land late, crashes and pauses.
//! The walks are the code that runs in production.

mod check;
mod tests;
mod world;

use world::{Script, Without, World};

/// What the explorer may do at the most: the budget that keeps the space finite.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Lost answers, late writes, crashes
    faults: u8,
    /// Passages of time beyond every claim and every late write
    ticks: u8,
    /// A delivery sent again while an earlier copy is on its way
    copies: u8,
}

struct Mirror {
    scripts: &'static [Script],
    has_cdr: bool,
    budget: Budget,
    without: Option<Without>,
}

impl Mirror {
    fn worlds(&self) -> Vec<World> {
        self.scripts.iter().map(|script| World::new(script, self.budget)).collect()
    }
}
