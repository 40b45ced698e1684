//! Refusals on stdout: a table for people, OperationOutcomes for scripts.

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::ValueEnum;
use serde_json::json;

use crate::answer;
use crate::validate::{Issue, Refusal};
use crate::verdict::Verdict;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people: each refused resource, and a line for each issue
    Table,
    /// For scripts: NDJSON, an OperationOutcome for each refused resource
    Json,
}

pub(super) struct Teller {
    output: Output,
    out: BufWriter<StdoutLock<'static>>,
}

/// Names the file of an OperationOutcome, which has no element for it.
const SOURCE: &str = "urn:lakehook:source";

impl Teller {
    pub(super) fn new(output: Output) -> Self {
        Self { output, out: BufWriter::new(io::stdout().lock()) }
    }

    /// `line` is that of a feed: what is in it has no other.
    pub(super) fn refused(&mut self, name: &str, line: Option<u32>, mut refusal: Refusal) {
        for issue in refusal.issues.iter_mut().filter(|issue| issue.line.is_some()) {
            issue.line = line.or(issue.line);
        }
        let source = match line {
            Some(line) => format!("{name}:{line}"),
            None => name.to_owned(),
        };
        let text = match self.output {
            Output::Table => table(&source, &refusal),
            Output::Json => outcome(&source, refusal),
        };
        // A reader that is gone is no reason to die: the exit code still says what was found.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    pub(super) fn finish(mut self) {
        let _ = self.out.flush();
    }
}

fn table(source: &str, refusal: &Refusal) -> String {
    let what = if refusal.malformed { "can't be parsed" } else { "is not valid R4" };
    let place = |issue: &Issue| match (issue.line, issue.column) {
        (Some(line), Some(column)) => format!("{line}:{column}"),
        _ => String::new(),
    };
    let rows: Vec<[String; 3]> = refusal
        .issues
        .iter()
        .map(|issue| [place(issue), issue.code.to_owned(), issue.expression.clone().unwrap_or_default()])
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (places, codes, paths) = (width(0), width(1), width(2));
    let mut text = format!("{source} {what}\n");
    for ([place, code, path], issue) in rows.iter().zip(&refusal.issues) {
        let row = format!("  {place:<places$}  {code:<codes$}  {path:<paths$}  {}\n", issue.diagnostics);
        text.push_str(&row);
    }
    text
}

/// What `serve` would answer, and of what.
fn outcome(source: &str, refusal: Refusal) -> String {
    let mut outcome = answer::outcome(&Verdict::from(refusal));
    outcome["extension"] = json!([{"url": SOURCE, "valueString": source}]);
    format!("{outcome}\n")
}
