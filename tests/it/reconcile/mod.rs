//! `reconcile`: seeded damage of every kind is found, nothing else is, and it is repaired to equality; before a CDR in
//! the test, and before a real HAPI. `LAKEHOOK_RECONCILE_N=10000` runs the large size and shows what it cost.

pub mod cdr;
mod cli;
mod continuous;
mod damage;
mod exports;
mod exports_made;
mod formula;
mod hapi;
mod size;
