//! The storm, small: every kind of change, every trouble once, in under three minutes. `chaos/run` makes it large.

use std::path::Path;
use std::process::Command;

/// What happened is the seed's and the machine's doing; the output names the seed.
#[test]
fn a_small_storm_loses_nothing_and_never_goes_back() {
    let chaos = Path::new(env!("CARGO_BIN_EXE_lakehook-chaos"));
    // Beside it, where `cargo test --workspace` puts it
    let lakehook = chaos.with_file_name("lakehook");
    assert!(lakehook.exists(), "{} is not built: cargo build -p lakehook", lakehook.display());
    let status = Command::new(chaos)
        .args(["storm", "--changes", "300", "--rate", "4", "--lakehook"])
        .arg(lakehook)
        .status()
        .expect("the storm starts");
    assert!(status.success(), "the verdict above says what is wrong, and with which seed");
}
