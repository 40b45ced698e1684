//! `lakehook dead-letters list`: a table, or NDJSON. Of the issues only FHIR's codes: their texts may quote the
//! resource.

use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};

use super::super::{print, say};
use super::select::{Found, Which};
use crate::deadletter::{DeadLetters, Letter};
use crate::verdict::issue_codes;

#[derive(Args, Debug)]
pub(super) struct ListCommand {
    #[command(flatten)]
    which: Which,
    /// NDJSON instead of a table
    #[arg(long)]
    json: bool,
}

const COLUMNS: [&str; 9] =
    ["LETTER", "RESOURCE", "VERSION", "WHAT", "REASON", "ISSUES", "TIMES", "LAST", "SIZE"];

pub(super) async fn run(store: &dyn DeadLetters, command: &ListCommand) -> ExitCode {
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    let letters = found.selected.iter().map(|selected| &selected.letter);
    if command.json {
        letters.for_each(|letter| print(&line(letter).to_string()));
        return found.code();
    }
    let rows: Vec<_> = std::iter::once(COLUMNS.map(str::to_owned)).chain(letters.map(row)).collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0))
        .collect();
    if rows.len() > 1 {
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            print(cells.join("  ").trim_end());
        }
    }
    say(&match found.selected.len() {
        0 => format!("no dead letters in {}", store.place()),
        1 => "1 dead letter".to_owned(),
        n => format!("{n} dead letters"),
    });
    found.code()
}

fn row(letter: &Letter) -> [String; 9] {
    let version = letter.version_id.as_deref().or(letter.last_updated.as_deref()).unwrap_or("-");
    [
        letter.id.to_string(),
        letter.key.to_string(),
        version.to_owned(),
        letter.interaction.to_string(),
        letter.reason.to_string(),
        issue_codes(&letter.issues).join(","),
        letter.attempts.to_string(),
        letter.last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ByteSize(letter.bytes as u64).to_string(),
    ]
}

fn line(letter: &Letter) -> Value {
    let mut value = serde_json::to_value(letter).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("issues");
        fields.insert("issueCodes".to_owned(), json!(issue_codes(&letter.issues)));
    }
    value
}
