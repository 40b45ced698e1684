//! The fuzz targets' own properties over their seeds and a few thousand mutations of these: what a build without
//! instrumentation can do in seconds, or for as many as `LAKEHOOK_FUZZ_SECONDS` says. `fuzz/run` does the rest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lakehook::fuzzing;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::process::repository;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = repository().join("fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// One edit: a byte set, some removed, or a part of another seed put in.
type Edit = (u8, Index, Index, u8, Index);

fn edited(mut bytes: Vec<u8>, edits: &[Edit], seeds: &[Vec<u8>]) -> Vec<u8> {
    for (kind, at, length, byte, other) in edits {
        if bytes.is_empty() {
            bytes.push(*byte);
        }
        let start = at.index(bytes.len());
        let end = (start + 1 + length.index(16)).min(bytes.len());
        match kind % 4 {
            0 => bytes[start] = *byte,
            1 => drop(bytes.drain(start..end)),
            2 => {
                let again = bytes[start..end].to_vec();
                bytes.splice(start..start, again);
            }
            _ => {
                let other = &seeds[other.index(seeds.len())];
                let from = length.index(other.len() + 1);
                let part = other[from..(from + 24).min(other.len())].to_vec();
                bytes.splice(start..end, part);
            }
        }
    }
    bytes
}

fn hold(target: &str, property: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| property(seed));
    let cases = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let seconds = std::env::var("LAKEHOOK_FUZZ_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let edits = prop::collection::vec(any::<Edit>(), 1..6);
        proptest!(cases.clone(), |(seed in any::<Index>(), edits in edits)| {
            property(&edited(seeds[seed.index(seeds.len())].clone(), &edits, &seeds));
        });
        if Instant::now() >= until {
            return;
        }
    }
}

#[test]
fn json() {
    hold("json", fuzzing::json);
}

#[test]
fn xml() {
    hold("xml", fuzzing::xml);
}

#[test]
fn url() {
    hold("url", fuzzing::url);
}

#[test]
fn bundle() {
    hold("bundle", fuzzing::bundle);
}
