//! `lakehook reconcile`, which counts what the storm left and brings it back.

use std::process::Stdio;

use serde_json::Value;

use crate::stand::Stand;
use crate::{Result, kinds};

#[derive(Debug)]
pub struct Reconciled {
    /// 0: equal, also after a repair; 3: different
    pub code: i32,
    /// Keys that differed
    pub found: Vec<String>,
}

/// Without `repair` it only tells.
pub async fn run(stand: &Stand, repair: bool) -> Result<Reconciled> {
    let name = if repair { "repair" } else { "dry-run" };
    let report = stand.directory.join(format!("reconcile-{name}.ndjson"));
    let mut command = stand.lakehook("reconcile");
    command.arg(format!("--{name}")).arg("--report").arg(&report);
    // Nothing is under way any more, so a difference need not be old to count.
    command.args(["--reconcile-settle", "3s", "--reconcile-rate", "200", "--patience", "2m"]);
    command.args(["--reconcile-types", &kinds::mirrored().join(",")]);
    let output = command.stdin(Stdio::null()).output().await?;
    let log = stand.directory.join(format!("reconcile-{name}.log"));
    std::fs::write(&log, [&output.stdout[..], &output.stderr[..]].concat())?;
    let code = output.status.code().unwrap_or(-1);
    if !matches!(code, 0 | 3) {
        return Err(format!("lakehook reconcile --{name} ended with {code}, see {}", log.display()).into());
    }
    let mut found = Vec::new();
    for line in std::fs::read_to_string(&report)?.lines() {
        // The totals, the last line, have no key.
        found.extend(serde_json::from_str::<Value>(line)?["key"].as_str().map(str::to_owned));
    }
    found.sort();
    Ok(Reconciled { code, found })
}
