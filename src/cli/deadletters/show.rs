//! `lakehook dead-letters show`: all that is known of a letter. HealthLake's texts are among it, as the CDR was told
//! them, and may quote the resource; the resource itself comes with --payload alone.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::super::{FAILED, USAGE, fail, print};
use super::select::{Found, Which};
use crate::deadletter::{DeadLetters, Letter};

#[derive(Args, Debug)]
pub(super) struct ShowCommand {
    #[command(flatten)]
    which: Which,
    /// What was refused too: patients' data
    #[arg(long)]
    payload: bool,
}

pub(super) async fn run(store: &dyn DeadLetters, command: &ShowCommand) -> ExitCode {
    if command.which.is_everything() {
        return fail(USAGE, "say which letters: `lakehook dead-letters list` names them");
    }
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    for (n, selected) in found.selected.iter().enumerate() {
        if n > 0 {
            print("");
        }
        print(text(&selected.letter).trim_end());
        if command.payload {
            match store.read(&selected.name).await {
                Ok(Some(stored)) => print(&format!("\n{}", String::from_utf8_lossy(&stored.payload.0))),
                Ok(None) => return fail(FAILED, &format!("{} was removed meanwhile", selected.name.id)),
                Err(error) => return fail(FAILED, &error.to_string()),
            }
        }
    }
    found.code()
}

fn text(letter: &Letter) -> String {
    let mut text = String::new();
    let healthlake = letter.healthlake_status.map(|status| match &letter.healthlake_request_id {
        Some(id) => format!("{status}, request {id}"),
        None => status.to_string(),
    });
    let rows: [(&str, Option<String>); 13] = [
        ("letter", Some(letter.id.to_string())),
        ("resource", Some(letter.key.to_string())),
        ("interaction", Some(letter.interaction.to_string())),
        ("versionId", letter.version_id.as_deref().map(str::to_owned)),
        ("lastUpdated", letter.last_updated.as_deref().map(str::to_owned)),
        ("reason", Some(letter.reason.to_string())),
        ("HealthLake", healthlake),
        ("delivery", letter.delivery.as_deref().map(str::to_owned)),
        ("times refused", Some(letter.attempts.to_string())),
        ("first", Some(letter.first.to_string())),
        ("last", Some(letter.last.to_string())),
        ("media type", letter.media.as_deref().map(str::to_owned)),
        ("size", Some(format!("{} bytes", letter.bytes))),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<14} {value}");
        }
    }
    for issue in &letter.issues {
        let place = issue.expression.as_deref().map_or(String::new(), |place| format!(" at {place}"));
        let _ = writeln!(
            text,
            "{:<14} {}{place}: {}",
            issue.severity.as_str(),
            issue.code,
            printable(&issue.diagnostics)
        );
    }
    text
}

/// For a terminal: what others wrote does not steer it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
