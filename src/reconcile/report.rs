//! What a run says at its end: totals by type and kind, for people and for machines. Of a resource never more than
//! type, id, versions and times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::finding::{Finding, Kind, Repair, as_instant};
use super::side::{At, Cost};

/// Of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Resources that both sides' lists were compared for
    pub compared: u64,
    #[serde(flatten)]
    pub differences: BTreeMap<Kind, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub repairs: BTreeMap<Repair, u64>,
}

impl Totals {
    fn different(&self) -> u64 {
        self.differences.values().sum()
    }

    fn repaired(&self) -> u64 {
        self.repairs.get(&Repair::Repaired).copied().unwrap_or_default()
    }
}

/// How much a run looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Every resource of the types, on both sides
    Everything,
    /// What was updated since the last run, and what counts of windows say has disappeared
    Changes,
    /// What was updated since a time that was given
    Since,
    /// The resources that were named
    Ids,
    /// Two bulk exports
    Exports,
}

impl Extent {
    /// What it proves, in a sentence.
    pub fn proves(self) -> &'static str {
        match self {
            Self::Everything => "every resource of these types was compared by its content",
            Self::Changes => {
                "what either side updated since the last run was compared by its content; what was deleted was found by counts of windows; the rest was equal then, and neither server says that it changed"
            }
            Self::Since => {
                "what either side updated since then was compared by its content; resources that were deleted at one side are not found"
            }
            Self::Ids => "only the resources that were named were compared",
            Self::Exports => "every resource in the two exports was compared by its content",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub extent: Extent,
    #[serde(serialize_with = "as_instant")]
    pub started: Option<At>,
    #[serde(serialize_with = "as_instant")]
    pub ended: Option<At>,
    /// Whether differences were to be repaired
    pub repair: bool,
    pub types: BTreeMap<String, Totals>,
    /// Types that were left out, and why
    pub not_compared: BTreeMap<String, String>,
    /// Kept changing, so that they could not be judged
    pub undecided: u64,
    /// Could not be read
    pub failed: u64,
    pub problem: Option<String>,
    pub cdr: Cost,
    pub healthlake: Cost,
}

impl Report {
    pub fn new(extent: Extent, repair: bool, started: At) -> Self {
        Self {
            extent,
            started: Some(started),
            ended: None,
            repair,
            types: BTreeMap::new(),
            not_compared: BTreeMap::new(),
            undecided: 0,
            failed: 0,
            problem: None,
            cdr: Cost::default(),
            healthlake: Cost::default(),
        }
    }

    pub fn compared(&mut self, kind: &str, compared: u64) {
        self.types.entry(kind.to_owned()).or_default().compared += compared;
    }

    pub fn found(&mut self, finding: &Finding) {
        let totals = self.types.entry(finding.key.resource_type().to_owned()).or_default();
        *totals.differences.entry(finding.kind).or_default() += 1;
        if let Some(repair) = finding.repair {
            *totals.repairs.entry(repair).or_default() += 1;
        }
    }

    pub fn differences(&self) -> u64 {
        self.types.values().map(Totals::different).sum()
    }

    pub fn repaired(&self) -> u64 {
        self.types.values().map(Totals::repaired).sum()
    }

    /// Differences that are still there.
    pub fn open(&self) -> u64 {
        self.differences() - self.repaired()
    }

    pub fn seconds(&self) -> f64 {
        let (Some(started), Some(ended)) = (self.started, self.ended) else { return 0.0 };
        (ended - started) as f64 / 1e3
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut rows: Vec<[String; 8]> = vec![
            ["type", "compared", "missing", "extra", "stale", "altered", "repaired", "open"]
                .map(str::to_owned),
        ];
        let row = |name: &str, totals: &Totals| {
            let kind = |kind: Kind| totals.differences.get(&kind).copied().unwrap_or_default().to_string();
            [
                name.to_owned(),
                totals.compared.to_string(),
                kind(Kind::Missing),
                kind(Kind::Extra),
                kind(Kind::Stale),
                kind(Kind::Altered),
                totals.repaired().to_string(),
                (totals.different() - totals.repaired()).to_string(),
            ]
        };
        let mut all = Totals::default();
        for (name, totals) in &self.types {
            all.compared += totals.compared;
            for (kind, n) in &totals.differences {
                *all.differences.entry(*kind).or_default() += n;
            }
            for (repair, n) in &totals.repairs {
                *all.repairs.entry(*repair).or_default() += n;
            }
            if totals.compared + totals.different() > 0 {
                rows.push(row(name, totals));
            }
        }
        rows.push(row("all", &all));
        let widths: Vec<usize> =
            (0..8).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
                text.push_str(&cell);
            }
            text.push('\n');
        }
        for (repair, n) in &all.repairs {
            let says = match repair {
                Repair::Repaired => continue,
                Repair::Persisting => {
                    "sent and still different: HealthLake changes them itself, or somebody else writes them"
                }
                Repair::Refused => "refused for good: the report names each verdict",
                Repair::Unsettled => "not settled: the next run tries again",
            };
            text.push_str(&format!("{n} {says}\n"));
        }
        if self.undecided > 0 {
            text.push_str(&format!("{} kept changing and were not judged\n", self.undecided));
        }
        if self.failed > 0 {
            let problem = self.problem.as_deref().unwrap_or_default();
            text.push_str(&format!("{} could not be compared: {problem}\n", self.failed));
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, reason) in &self.not_compared {
            reasons.entry(reason).or_default().push(name);
        }
        for (reason, names) in reasons {
            text.push_str(&format!("not compared, {reason}: {}\n", names.join(" ")));
        }
        text.push_str(&format!(
            "{} s; the CDR: {} requests, {}; HealthLake: {} requests, {}\n",
            self.seconds(),
            self.cdr.requests,
            bytesize::ByteSize(self.cdr.bytes),
            self.healthlake.requests,
            bytesize::ByteSize(self.healthlake.bytes),
        ));
        text.push_str(&format!("{}\n", self.extent.proves()));
        text
    }
}

/// Findings as they come: to a file, and to what the page shows.
pub struct Findings {
    file: Option<BufWriter<File>>,
    error: Option<std::io::Error>,
    /// The first ones
    pub first: Vec<Finding>,
    /// By hours since the epoch
    pub hours: BTreeMap<i64, [u64; 4]>,
}

/// So many are named on the page.
pub const NAMED: usize = 1000;

impl Findings {
    /// `file` gets NDJSON: a line for each finding, and the report last.
    pub fn new(file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { file, error: None, first: Vec::new(), hours: BTreeMap::new() })
    }

    pub fn add(&mut self, finding: Finding) {
        let at = finding.at().unwrap_or_default();
        self.hours.entry(at / 3_600_000).or_default()[finding.kind as usize] += 1;
        self.line(&finding);
        if self.first.len() < NAMED {
            self.first.push(finding);
        }
    }

    fn line(&mut self, value: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_writer(&mut *file, value).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|()| file.write_all(b"\n")) {
            self.error.get_or_insert(error);
        }
    }

    /// The report is the last line, so that a file that was cut short is known by its end.
    pub fn end(&mut self, report: &Report) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Last<'a> {
            report: &'a Report,
        }
        self.line(&Last { report });
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        self.error.take().map_or(Ok(()), Err)
    }
}
