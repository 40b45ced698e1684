//! `lakehook dead-letters export`: NDJSON, one letter a line, with `payload` where it is asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::super::{FAILED, fail, say};
use super::select::{Found, Which};
use crate::deadletter::{DeadLetters, Payload};

#[derive(Args, Debug)]
pub(super) struct ExportCommand {
    #[command(flatten)]
    which: Which,
    /// What was refused too, as the string `payload` (or `payloadBase64` where it is no text): patients' data
    #[arg(long)]
    payload: bool,
    /// A new file, for its user only [default: stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(store: &dyn DeadLetters, command: &ExportCommand) -> ExitCode {
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    let mut out: Box<dyn Write> = match command.output.as_deref().map(create).transpose() {
        Ok(Some(file)) => Box::new(BufWriter::new(file)),
        Ok(None) => Box::new(io::stdout()),
        Err(text) => return fail(FAILED, &text),
    };
    let mut written = 0;
    for selected in &found.selected {
        let mut line = serde_json::to_value(&selected.letter).unwrap_or_default();
        if command.payload {
            match store.read(&selected.name).await {
                Ok(Some(stored)) => {
                    let (field, text) = payload(&stored.payload);
                    line[field] = text.into();
                }
                // Removed meanwhile.
                Ok(None) => continue,
                Err(error) => {
                    return fail(FAILED, &format!("{error}; {written} letters were written before"));
                }
            }
        }
        if let Err(error) = writeln!(out, "{line}") {
            return fail(FAILED, &format!("{error}; {written} letters were written before"));
        }
        written += 1;
    }
    if let Err(error) = out.flush() {
        return fail(FAILED, &error.to_string());
    }
    say(&format!("{written} letters"));
    found.code()
}

fn payload(payload: &Payload) -> (&'static str, String) {
    match std::str::from_utf8(&payload.0) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payloadBase64", STANDARD.encode(&payload.0)),
    }
}

fn create(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| format!("--output: {}: {error}; it must not be there yet", path.display()))
}
