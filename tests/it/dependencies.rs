//! One HTTP stack, one TLS stack, one crypto provider in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Versions of each crate that is compiled in, development included.
fn tree() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--prefix",
            "none",
            "--edges",
            "normal,build,dev",
        ])
        .args(["--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    versions
}

#[test]
fn there_is_one_of_each() {
    let tree = tree();
    for name in ["hyper", "rustls", "h2", "http", "tokio-rustls", "aws-lc-rs", "tower-http", "reqwest"] {
        let versions = tree.get(name).unwrap_or_else(|| panic!("{name} is gone: adapt this test"));
        assert_eq!(versions.len(), 1, "{name} is there in {versions:?}");
    }
}

#[test]
fn the_lock_file_holds_one_of_each() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    for name in ["hyper", "rustls", "h2", "tokio-rustls", "aws-lc-rs"] {
        let line = format!("name = \"{name}\"");
        assert_eq!(lock.lines().filter(|found| *found == line).count(), 1, "{name}");
    }
    // `ring` stands in the lock file as an option of rustls-webpki that nobody takes: the tree decides.
}

#[test]
fn no_second_tls_or_crypto_enters() {
    let tree = tree();
    for name in ["ring", "openssl", "openssl-sys", "native-tls", "s2n-tls", "hyper-tls", "boring"] {
        assert!(!tree.contains_key(name), "{name} entered the tree");
    }
}
