//! `lakehook validate`: what `serve` would say of these files, before anybody subscribes.

mod documents;
mod tell;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{DIFFERENCES, FAILED, say};
use crate::settings::Validation;
use crate::validate::{Refusal, Validator};
use documents::{Document, Form};
use tell::{Output, Teller};

/// Fewer files are done before a bar could be read.
const MANY: usize = 20;

#[derive(Args, Debug)]
pub(super) struct ValidateCommand {
    /// FHIR JSON, XML or NDJSON (.ndjson: a resource a line); a directory is searched for these; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What is asked of a resource
    #[arg(long, env = "LAKEHOOK_VALIDATION", value_name = "MODE", value_enum, default_value = "strict")]
    validation: Validation,
    /// How deeply elements may nest
    #[arg(long, env = "LAKEHOOK_MAX_DEPTH", value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(2..=64))]
    max_depth: u32,
    /// How refusals are shown on stdout
    #[arg(long, value_name = "FORM", value_enum, default_value = "table")]
    output: Output,
}

/// What became of the files.
#[derive(Default)]
struct Counts {
    valid: u64,
    refused: u64,
    unreadable: u64,
    bytes: u64,
}

pub(super) fn run(command: &ValidateCommand) -> ExitCode {
    let validator = Validator::new(command.validation.into(), command.max_depth);
    let started = Instant::now();
    let mut counts = Counts::default();
    let (inputs, unreadable) = documents::inputs(&command.files);
    let bar = bar(inputs.len());
    let mut teller = Teller::new(command.output);
    let cannot = |name: &str, error: &std::io::Error| bar.suspend(|| say(&format!("{name}: {error}")));
    for (name, error) in &unreadable {
        counts.unreadable += 1;
        cannot(name, error);
    }
    for input in &inputs {
        let name = input.name();
        let read = documents::each(input, |document| {
            counts.bytes += document.bytes.len() as u64;
            match judge(&validator, &document) {
                Ok(()) => counts.valid += 1,
                Err(refusal) => {
                    counts.refused += 1;
                    bar.suspend(|| teller.refused(&name, document.line, refusal));
                }
            }
        });
        if let Err(error) = read {
            counts.unreadable += 1;
            cannot(&name, &error);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    teller.finish();
    say(&counts.summary(started.elapsed()));
    counts.code()
}

fn judge(validator: &Validator, document: &Document<'_>) -> Result<(), Refusal> {
    match document.form {
        Form::Json => validator.json(document.bytes).map(drop),
        Form::Xml => validator.xml(document.bytes).map(drop),
    }
}

/// Drawn on a terminal only, and only where there is something to wait for.
fn bar(files: usize) -> ProgressBar {
    if files < MANY || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} files, {eta} left");
    ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Counts {
    fn summary(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        let unreadable = match self.unreadable {
            0 => String::new(),
            n => format!(", {n} unreadable"),
        };
        format!(
            "{} valid, {} refused{unreadable}, {seconds:.2} s, {:.1} MB/s",
            self.valid,
            self.refused,
            self.bytes as f64 / 1e6 / seconds.max(1e-9)
        )
    }

    fn code(&self) -> ExitCode {
        match (self.unreadable, self.refused) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(DIFFERENCES),
            _ => ExitCode::from(FAILED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_weighs_more_than_what_is_refused() {
        let code = |unreadable, refused| Counts { unreadable, refused, ..Counts::default() }.code();
        assert_eq!(code(0, 0), ExitCode::SUCCESS);
        assert_eq!(code(0, 1), ExitCode::from(3));
        assert_eq!(code(1, 1), ExitCode::from(1));
    }
}
