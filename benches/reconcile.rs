//! What a comparison of two servers of any size takes of this machine: time, memory, disk. The servers are formulas, so
//! that only the comparison is measured. `LAKEHOOK_RECONCILE_KEYS=1000000 cargo bench --bench reconcile`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/reconcile/formula.rs"]
mod formula;

fn main() {
    let keys = std::env::var("LAKEHOOK_RECONCILE_KEYS").map_or(100_000, |keys| keys.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let measured = runtime.block_on(formula::measure(keys));
    assert_eq!(measured.found, keys / formula::DIFFERS);
    println!(
        "{keys} keys a side: everything {:.1} s, changes {:.2} s, {} MiB of memory above the start, file of {} MiB",
        measured.everything.as_secs_f64(),
        measured.changes.as_secs_f64(),
        measured.grown >> 10,
        measured.file >> 20
    );
}
