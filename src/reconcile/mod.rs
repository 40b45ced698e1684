//! Proves that HealthLake holds what the CDR holds, and repairs what differs.
//!
//! A sweep lists both sides into an index on disk (`sweep`, `index`) by digests of what resources say (`canonical`);
//! what differs there is a suspect. `judge` reads each suspect by id, twice where it must, since searches lag and
//! deliveries are under way: only what still differs then counts, and is repaired through the one `Forward`.
//! `docs/reconcile.md` says what each kind of run proves.

pub mod canonical;
mod cdr;
mod continuous;
mod export;
mod finding;
mod healthlake;
mod index;
mod judge;
mod page;
mod report;
mod run;
mod side;
mod sweep;

#[cfg(test)]
mod tests;

pub use canonical::Decimals;
pub use cdr::AtCdr;
pub use continuous::{Continuous, Every, Snapshot, Status};
pub use export::{Export, ExportError, ExportJob, ExportSettings, each_resource};
pub use finding::{Finding, Kind, Repair};
pub use healthlake::AtHealthLake;
pub use index::{Index, IndexError, Listing, Which};
pub use page::page;
pub use report::{Extent, Findings, Report, Totals};
pub use run::{NOT_AT_HEALTHLAKE, Options, Run, Scope, now};
pub use side::{At, Cost, Held, Listed, Side, SideError, Window};
pub use sweep::SweepError;
