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

/// docs/release.md, "The same bytes again": what a release is made from is all written down.
#[test]
fn a_release_depends_on_nothing_that_is_not_written_down() {
    let root = crate::support::process::repository();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let lock = read("Cargo.lock");
    let packages: Vec<&str> = lock.split("\n[[package]]\n").skip(1).collect();
    assert!(packages.len() > 100);
    for package in packages {
        let Some(source) = package.lines().find(|line| line.starts_with("source = ")) else { continue };
        assert!(source.contains("registry+https://github.com/rust-lang/crates.io-index"), "{package}");
        assert!(package.contains("\nchecksum = \""), "{package}");
    }
    let manifest = read("Cargo.toml");
    let rust = manifest.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(
        read("deploy/Dockerfile").contains(&format!("FROM rust:{rust}-")),
        "the image compiles with {rust}"
    );
    // mimalloc holds the time at which it was compiled; the image's build sees this file, too.
    assert!(read(".cargo/config.toml").contains("\nSOURCE_DATE_EPOCH = \""));
    assert!(read("deploy/Dockerfile.dockerignore").lines().any(|line| line == "!.cargo"));

    // No script runs before our own crates, and nothing of the machine or the day is compiled in.
    for folder in ["src", "crates/fhirbolt-r4/src"] {
        assert!(!root.join(folder).parent().unwrap().join("build.rs").exists(), "{folder}");
        let mut waiting = vec![root.join(folder)];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for named in text.split("env!(\"").skip(1) {
                let name = named.split('"').next().unwrap();
                let in_a_test = name == "CARGO_MANIFEST_DIR" && text.contains("#[test]")
                    || path.to_string_lossy().contains("tests");
                assert!(name == "CARGO_PKG_VERSION" || in_a_test, "{}: {name}", path.display());
            }
        }
    }
}
