//! What was measured, as ratios to the bare proxy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::drive::Driven;
use crate::payload::Payload;
use crate::{Load, Result};

/// Others are compared with it.
const BASE: &str = "axum-reqwest";

/// One turn of one contestant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub deliveries: u64,
    pub per_second: f64,
    /// Processor time of one delivery (microseconds)
    pub cpu_us: f64,
    /// Microseconds
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub connections: usize,
    pub rate: Option<u64>,
    pub tls: bool,
    pub mean_bytes: usize,
    pub turns: BTreeMap<String, Vec<Measured>>,
    /// Peak memory (bytes)
    pub peaks: BTreeMap<String, u64>,
}

impl Measured {
    pub fn of(driven: Driven, cpu: Duration) -> Self {
        let latency = driven.latency;
        Self {
            deliveries: driven.deliveries,
            per_second: driven.deliveries as f64 / driven.time.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / driven.deliveries.max(1) as f64,
            p50: latency.value_at_quantile(0.5),
            p99: latency.value_at_quantile(0.99),
            p999: latency.value_at_quantile(0.999),
        }
    }
}

impl Report {
    pub fn new(load: &Load, payloads: &[Payload]) -> Self {
        let mean = payloads.iter().map(|payload| payload.json.len()).sum::<usize>() / payloads.len().max(1);
        Self {
            connections: load.connections,
            rate: load.rate,
            tls: load.tls,
            mean_bytes: mean,
            turns: BTreeMap::new(),
            peaks: BTreeMap::new(),
        }
    }

    pub fn read(path: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    pub fn add(&mut self, name: &str, measured: Measured) {
        self.turns.entry(name.to_owned()).or_default().push(measured);
    }

    pub fn peak(&mut self, name: &str, bytes: u64) {
        self.peaks.insert(name.to_owned(), bytes);
    }

    /// The middle turn by processor time.
    fn median(&self, name: &str) -> Option<Measured> {
        let mut turns = self.turns.get(name)?.clone();
        turns.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
        turns.get(turns.len() / 2).cloned()
    }

    /// Of each round the ratio to the bare proxy in the same round; the middle one.
    fn ratio(&self, name: &str) -> Option<f64> {
        let (turns, base) = (self.turns.get(name)?, self.turns.get(BASE)?);
        let mut ratios: Vec<f64> =
            turns.iter().zip(base).map(|(turn, base)| turn.cpu_us / base.cpu_us).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate.map_or("as many as go".to_owned(), |rate| format!("{rate}/s"));
        let tls = if self.tls { "TLS" } else { "plain HTTP" };
        writeln!(
            f,
            "\n{} connections, {rate}, {} bytes in the mean, upstream over {tls}; the middle of the rounds\n",
            self.connections, self.mean_bytes
        )?;
        writeln!(
            f,
            "| | CPU µs a delivery | to {BASE} | deliveries/s | p50 µs | p99 µs | p99.9 µs | peak MB |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for name in self.turns.keys() {
            let Some(measured) = self.median(name) else { continue };
            let ratio = self.ratio(name).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let peak = self.peaks.get(name).map_or(0.0, |bytes| *bytes as f64 / 1e6);
            let Measured { per_second, cpu_us, p50, p99, p999, .. } = measured;
            writeln!(
                f,
                "| {name} | {cpu_us:.0} | {ratio} | {per_second:.0} | {p50} | {p99} | {p999} | {peak:.0} |"
            )?;
        }
        Ok(())
    }
}

/// Ratios to the bare proxy of the same run: the machine may have been another one.
#[allow(clippy::print_stdout)]
pub fn compare(before: &Report, after: &Report) -> Result<()> {
    println!("| | before, to {BASE} | after | change |\n|---|---|---|---|");
    for name in after.turns.keys() {
        let (Some(was), Some(is)) = (before.ratio(name), after.ratio(name)) else { continue };
        println!("| {name} | {was:.2} | {is:.2} | {:+.0} % |", (is / was - 1.0) * 100.0);
    }
    Ok(())
}
