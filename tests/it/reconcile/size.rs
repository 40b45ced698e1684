//! Memory does not grow with the store.

use std::process::Command;

use super::formula::{DIFFERS, measure};
use crate::support::corpus::note;

/// KiB, whatever the size: redb's cache of 8 MiB, a run of 6 MiB that is gathered and one that is written, batches, and
/// what the allocator keeps.
const MOST: u64 = 48 << 10;

/// The small size runs always; `LAKEHOOK_RECONCILE_KEYS=1000000` the large one.
#[test]
fn a_comparison_of_any_size_takes_the_same_memory() {
    let keys = std::env::var("LAKEHOOK_RECONCILE_KEYS").unwrap_or_else(|_| "10000".to_owned());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "reconcile::size::measured", "--ignored", "--nocapture"]);
    let output = child.env("LAKEHOOK_RECONCILE_KEYS", &keys).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.contains("measured: ")).unwrap();
    note(&format!("{keys} keys a side, {line}"));
    let grown: u64 =
        line.split_whitespace().find_map(|word| word.strip_prefix("grown=")?.parse().ok()).unwrap();
    assert!(grown < MOST, "{grown} KiB: {line}");
}

#[tokio::test]
#[ignore = "measures its process: the test above runs it in one of its own"]
async fn measured() {
    let keys = std::env::var("LAKEHOOK_RECONCILE_KEYS").unwrap().parse().unwrap();
    let measured = measure(keys).await;
    assert_eq!(measured.found, keys / DIFFERS);
    #[allow(clippy::print_stdout)]
    {
        println!("measured: grown={} {measured:?}", measured.grown);
    }
}
