//! Seeded damage, and what a run has to say of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::app::TestApp;

pub const DAMAGES: [&str; 5] = ["dropped", "altered", "extra", "stale", "resurrected"];

/// As reports name it.
pub fn kind_of(damage: &str) -> &'static str {
    match damage {
        "dropped" => "missing",
        "altered" => "altered",
        "stale" => "stale",
        _ => "extra",
    }
}

pub fn size() -> usize {
    std::env::var("LAKEHOOK_RECONCILE_N").map_or(600, |n| n.parse().unwrap())
}

/// How much is damaged, one time after the other: a tenth; `LAKEHOOK_RECONCILE_DAMAGE=10,1000` says otherwise.
pub fn damages(n: usize) -> Vec<usize> {
    let given = std::env::var("LAKEHOOK_RECONCILE_DAMAGE");
    given.map_or(vec![n / 10], |given| given.split(',').map(|n| n.parse().unwrap()).collect())
}

/// Key and kind of each finding of an NDJSON report, and its last line.
pub fn findings(path: &std::path::Path) -> (BTreeMap<String, String>, Value) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.pop().unwrap()["report"].take();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found: BTreeMap<_, _> = lines.iter().map(|line| (text(&line["key"]), text(&line["kind"]))).collect();
    assert_eq!(found.len(), lines.len(), "each is told once");
    (found, report)
}

/// Every resource at HealthLake as HealthLake has it.
pub fn at_healthlake(app: &TestApp) -> BTreeMap<String, String> {
    app.sandbox
        .resources()
        .into_iter()
        .map(|resource| (resource.key, resource.json.get().to_owned()))
        .collect()
}
