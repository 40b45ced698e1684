//! Instructions of one delivery: callgrind counts those of a whole run, and the difference of a long and a short one
//! is what the deliveries took. A busy machine does not change it, so it is what a regression shows in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Result;
use crate::contestant::{Contestant, Programs};
use crate::drive::{Pattern, Until, drive};
use crate::payload::{Payload, Resources};
use crate::upstream::Upstream;

#[derive(Args)]
pub struct Instructions {
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    resources: Resources,
    /// Deliveries of the short run; the long one has this many and `--counted`
    #[arg(long, default_value_t = 300)]
    warm: u64,
    /// Deliveries that are counted
    #[arg(long, default_value_t = 1_000)]
    counted: u64,
    /// Where callgrind's files of the long runs are kept, for callgrind_annotate
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Where the counts are written
    #[arg(long)]
    json: Option<PathBuf>,
    /// Counts of an earlier run to show beside
    #[arg(long)]
    before: Option<PathBuf>,
}

/// By contestant
type Counts = BTreeMap<String, u64>;

impl Instructions {
    pub async fn count(&self) -> Result<()> {
        let payloads = self.resources.payloads(1)?;
        let upstream = Upstream::start(false, 32).await?;
        let directory = tempfile::tempdir()?;
        let kept = self.keep.as_deref().unwrap_or(directory.path());
        std::fs::create_dir_all(kept)?;
        let mut counts = Counts::new();
        for make in [Programs::lakehook, Programs::bare] {
            let mut totals = Vec::new();
            for deliveries in [self.warm, self.warm + self.counted] {
                let contestant = make(&self.programs, &upstream)?;
                let out = kept.join(format!("callgrind.{}.{deliveries}", contestant.name));
                totals.push((contestant.name.clone(), run(contestant, &payloads, deliveries, &out).await?));
            }
            if let [(name, short), (_, long)] = &totals[..] {
                counts.insert(name.clone(), long.saturating_sub(*short) / self.counted);
            }
        }
        let before: Counts = match &self.before {
            Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
            None => Counts::new(),
        };
        print(&counts, &before, payloads.iter().map(|p| p.json.len()).sum::<usize>() / payloads.len());
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_string_pretty(&counts)?)?;
        }
        Ok(())
    }
}

/// Instructions of the whole process
async fn run(mut contestant: Contestant, payloads: &[Payload], deliveries: u64, out: &Path) -> Result<u64> {
    contestant.under_callgrind(out);
    contestant.start().await?;
    let pattern = Pattern { connections: 1, rate: None, until: Until::Sent(deliveries) };
    drive(contestant.address, contestant.base_path, payloads, pattern).await?;
    contestant.stop()?;
    let text = std::fs::read_to_string(out)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| format!("callgrind left no total in {}", out.display()).into())
}

fn print(counts: &Counts, before: &Counts, bytes: usize) {
    println!("\nInstructions a delivery of {bytes} bytes in the mean, counted by callgrind\n");
    println!("| | instructions | before | change |\n|---|---|---|---|");
    for (name, count) in counts {
        match before.get(name) {
            Some(was) => {
                let change = (*count as f64 / *was as f64 - 1.0) * 100.0;
                println!("| {name} | {count} | {was} | {change:+.1} % |");
            }
            None => println!("| {name} | {count} | - | - |"),
        }
    }
}
