//! What validation costs: `cargo bench`, over HL7's examples where `LAKEHOOK_CORPUS` names them, else over our own.
//!
//! The allocator is the binary's, with a counter around it. On a busy machine trust the ratios.
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lakehook::validate::{Mode, Validator};
use mimalloc::MiMalloc;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to mimalloc as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { MiMalloc.realloc(memory, layout, size) }
    }
}

/// What hospitals send all day.
const EVERYDAY: [&str; 12] = [
    "AllergyIntolerance",
    "CarePlan",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "Procedure",
];

fn files(directory: &Path, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Valid examples of everyday types, and where they are from.
fn examples(validator: &Validator) -> (&'static str, Vec<Vec<u8>>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let corpus =
        std::env::var_os("LAKEHOOK_CORPUS").map_or_else(|| root.join("../shared/corpus"), PathBuf::from);
    let corpus = corpus.join("r4-examples");
    // A single attachment of a megabyte would outweigh all others.
    let everyday = |json: &Vec<u8>| {
        let facts = validator.json(json);
        json.len() <= 64 << 10 && facts.is_ok_and(|facts| EVERYDAY.contains(&&*facts.resource_type))
    };
    match corpus.is_dir() {
        true => ("HL7's examples", files(&corpus, "json").into_iter().filter(everyday).collect()),
        false => ("fixtures/resources", files(&root.join("fixtures/resources"), "json")),
    }
}

fn total(set: &[Vec<u8>]) -> usize {
    set.iter().map(Vec::len).sum()
}

/// The second time: what is made once and kept is no cost of a delivery.
fn count(name: &str, set: &[Vec<u8>], judge: impl Fn(&[u8])) {
    set.iter().for_each(|bytes| judge(bytes));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    set.iter().for_each(|bytes| judge(bytes));
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "allocations, {name}: {count} for {} files, {:.2} a file",
        set.len(),
        count as f64 / set.len() as f64
    );
}

fn ignored(json: &[u8]) {
    black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(json)).is_ok());
}

fn everyday(criterion: &mut Criterion) {
    let validator = Validator::new(Mode::Strict, 64);
    let (from, set) = examples(&validator);
    println!("{from}: {} files, mean {} bytes", set.len(), total(&set) / set.len());
    let pass = |json: &[u8]| assert!(validator.pass(black_box(json)));
    let whole = |json: &[u8]| assert!(black_box(validator.json(black_box(json))).is_ok());
    count("the pass", &set, pass);
    count("the pass and fhirbolt", &set, whole);
    let mut group = criterion.benchmark_group("everyday");
    group.throughput(Throughput::Bytes(total(&set) as u64));
    group.bench_function("serde_json IgnoredAny", |bencher| {
        bencher.iter(|| set.iter().for_each(|json| ignored(json)))
    });
    group.bench_function("pass", |bencher| bencher.iter(|| set.iter().for_each(|json| pass(json))));
    group.bench_function("pass and fhirbolt", |bencher| {
        bencher.iter(|| set.iter().for_each(|json| whole(json)))
    });
    group.finish();
}

fn xml(criterion: &mut Criterion) {
    let validator = Validator::new(Mode::Strict, 64);
    let set = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/resources"), "xml");
    let mut group = criterion.benchmark_group("xml");
    group.throughput(Throughput::Bytes(total(&set) as u64));
    group.bench_function("to JSON", |bencher| {
        bencher.iter(|| set.iter().for_each(|xml| assert!(validator.xml_to_json(black_box(xml)).is_ok())));
    });
    group.finish();
}

/// An attachment, whose characters nothing can guess.
fn attachment(criterion: &mut Criterion) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let validator = Validator::new(Mode::Strict, 64);
    let mut seed = 1u64;
    let data: String = (0..1 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(ALPHABET[(seed >> 58) as usize])
        })
        .collect();
    let json = format!(r#"{{"resourceType":"Binary","contentType":"x/y","data":"{data}"}}"#).into_bytes();
    let mut group = criterion.benchmark_group("attachment");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("pass", |bencher| bencher.iter(|| assert!(validator.pass(black_box(&json)))));
    group.finish();
}

/// Linear from one kilobyte to five megabytes.
fn sizes(criterion: &mut Criterion) {
    let validator = Validator::new(Mode::Strict, 64);
    let mut group = criterion.benchmark_group("sizes");
    for size in [1 << 10, 32 << 10, 1 << 20, 5_000_000] {
        let name = r#"{"use":"official","family":"Chalmers","given":["Peter","James"],"period":{"start":"2001-05-06"}}"#;
        let names = vec![name; (size - 40) / (name.len() + 1)].join(",");
        let json = format!(r#"{{"resourceType":"Patient","name":[{names}]}}"#).into_bytes();
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_with_input(BenchmarkId::new("pass", size), &json, |bencher, json| {
            bencher.iter(|| assert!(validator.pass(black_box(json))));
        });
        group.bench_with_input(BenchmarkId::new("pass and fhirbolt", size), &json, |bencher, json| {
            bencher.iter(|| assert!(validator.json(black_box(json)).is_ok()));
        });
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = quick(); targets = everyday, attachment, xml, sizes }
criterion_main!(benches);
