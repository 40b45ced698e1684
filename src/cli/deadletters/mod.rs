//! `lakehook dead-letters`: what was refused for good, and what to do with it.

mod export;
mod list;
mod open;
mod redrive;
mod select;
mod show;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use self::select::{Found, Which};
use super::{FAILED, Sources, USAGE, fail, print, say};
use crate::deadletter::DeadLetters;
use crate::operate::telemetry;
use crate::redrive::Selected;
use crate::settings::{DeadLetterStore, MirrorArgs, Settings, aws};

pub(super) use open::{keeper, store};

#[derive(Args, Debug)]
pub(super) struct DeadLettersCommand {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

const CODES: &str = "With --cdr-url each resource is read at the CDR, and what it has now is forwarded; without it what was kept, under the rules of the order. Exit code: 0 done, 1 something failed, 3 something is still refused.";

#[derive(Subcommand, Debug)]
enum What {
    /// One line a letter: what was refused, why and when
    List(list::ListCommand),
    /// All that is known of letters; what they hold only with --payload
    Show(show::ShowCommand),
    /// Forward again what the CDR has now, or what was kept; what is settled goes
    #[command(after_help = CODES)]
    Redrive(redrive::RedriveCommand),
    /// Remove letters
    Drop(DropCommand),
    /// NDJSON, one letter a line; what they hold only with --payload
    Export(export::ExportCommand),
}

#[derive(Args, Debug)]
struct DropCommand {
    #[command(flatten)]
    which: Which,
    /// Every letter
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(command: DeadLettersCommand, sources: &Sources) -> ExitCode {
    let DeadLettersCommand { what, mirror, settings } = command;
    // What failed is told by the command itself; asked for, log lines come.
    let filter = if settings.log.log == "info" { "error" } else { &settings.log.log };
    if let Err(error) = telemetry::start(filter, settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let store = match open(&settings, sources).await {
        Ok(store) => store,
        Err(code) => return code,
    };
    let code = match what {
        What::List(command) => list::run(&*store, &command).await,
        What::Show(command) => show::run(&*store, &command).await,
        What::Export(command) => export::run(&*store, &command).await,
        What::Drop(command) => drop_letters(&*store, &command).await,
        What::Redrive(command) => redrive::run(&*store, &command, &mirror, settings, sources).await,
    };
    if let Err(error) = store.close().await {
        say(&format!("error: {error}; the letters can be seen again once their visibility timeout ends"));
    }
    code
}

async fn open(settings: &Settings, sources: &Sources) -> Result<Arc<dyn DeadLetters>, ExitCode> {
    let usage = |error| fail(USAGE, &sources.locate(error).to_string());
    let args = &settings.dead_letters;
    let which = args.store(settings.order.data_dir.is_some()).map_err(usage)?;
    let keys = args.keys().map_err(usage)?;
    let resolved = match which {
        DeadLetterStore::S3 { .. } | DeadLetterStore::Sqs { .. } => {
            let source = aws(settings).map_err(usage)?;
            Some(source.resolve().await.map_err(|error| fail(FAILED, &error.to_string()))?)
        }
        DeadLetterStore::Off | DeadLetterStore::Dir => None,
    };
    store(settings, &which, keys, resolved.as_ref()).ok_or_else(|| {
        fail(
            USAGE,
            "no dead letters are kept by these settings: give the instance's own, --data-dir or --dead-letters (LAKEHOOK_DEAD_LETTERS)",
        )
    })
}

async fn drop_letters(store: &dyn DeadLetters, command: &DropCommand) -> ExitCode {
    if command.which.is_everything() && !command.all {
        return fail(USAGE, "say which: letters, Type/id, --type, --reason, --since, --until, or --all");
    }
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    let mut dropped = 0;
    for Selected { name, .. } in &found.selected {
        match store.remove(name).await {
            Ok(true) => dropped += 1,
            Ok(false) => {}
            Err(error) => return fail(FAILED, &format!("{error}; {dropped} letters were dropped before")),
        }
    }
    print(&format!("{dropped} dropped"));
    found.code()
}
