//! The commands. Parsing, and which error names which source.

mod ask;
mod backfill;
mod canary;
mod check;
mod consume;
mod consume_keep;
mod deadletters;
mod digest;
mod engine;
mod explain;
mod generate;
mod lambda;
mod order;
mod reconcile;
mod reconcile_exports;
mod reconcile_serve;
mod resend;
mod sandbox;
mod serve;
mod subscribe;
mod validate;

use std::ffi::OsString;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::delivery::Key;
use crate::operate::otlp::{TraceMetrics, Traces};
use crate::settings::{File, SandboxArgs, Settings, SettingsError, collector, with_file};

/// Keeps an AWS HealthLake data store an exact, near-real-time mirror of a FHIR R4 server
#[derive(Parser, Debug)]
#[command(name = "lakehook", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand, Debug)]
enum Commands {
    /// Take deliveries and forward them to HealthLake
    #[command(after_help = SETTINGS)]
    Serve(Box<Settings>),
    /// Run a HealthLake and an STS that behave like AWS's, for tests on this machine
    Sandbox(SandboxCommand),
    /// Try the settings: credentials, STS, the data store; say what works and what to do
    #[command(after_help = SETTINGS)]
    Check(Box<CheckCommand>),
    /// Read resources at the CDR as they are now, deleted ones too, and forward that
    #[command(after_help = SETTINGS)]
    Resend(Box<resend::ResendCommand>),
    /// Create or mend lakehook's Subscription at the CDR, and wait until it is active
    #[command(after_help = SETTINGS)]
    Subscribe(Box<subscribe::SubscribeCommand>),
    /// Delete lakehook's Subscription at the CDR
    #[command(after_help = SETTINGS)]
    Unsubscribe(Box<subscribe::SubscribeCommand>),
    /// Say what a code means, or what is known of one resource here, at the CDR and at HealthLake
    #[command(after_help = SETTINGS)]
    Explain(Box<explain::ExplainCommand>),
    /// Write a small resource at the CDR and say how long it takes to HealthLake
    #[command(after_help = "Exit code: 0 it arrived, 1 it did not, 2 wrong usage.")]
    Canary(Box<canary::CanaryCommand>),
    /// Ask the running instance how it is
    #[command(after_help = "Exit code: 0 ready, 3 it runs and is not ready, 1 nobody answers.")]
    Status(Box<ask::StatusCommand>),
    /// Show or change the log filter of the running instance
    LogLevel(Box<ask::LogLevelCommand>),
    /// Make the sandbox fail, to see what happens then
    Faults(ask::FaultsCommand),
    /// What was refused for good and kept: list, show, redrive, drop, export
    #[command(after_help = SETTINGS)]
    DeadLetters(Box<deadletters::DeadLettersCommand>),
    /// Forward what a CDR's failed channel on Kafka holds: what the CDR has now of the resources that it names
    #[command(after_help = SETTINGS)]
    Consume(Box<consume::ConsumeCommand>),
    /// Bring everything that the CDR has to HealthLake: directly, through the CDR, or by HealthLake's import
    #[command(after_help = SETTINGS)]
    Backfill(Box<backfill::BackfillCommand>),
    /// Compare HealthLake with the CDR, and repair what differs
    #[command(after_help = "Exit code: 0 equal, 1 failed, 2 wrong usage, 3 different.")]
    Reconcile(Box<reconcile::ReconcileCommand>),
    /// Say what each resource of a bulk export holds, by a digest, for comparisons of very large stores
    Digest(digest::DigestCommand),
    /// Say what is wrong with FHIR resources in files, as a delivery of them would be told
    #[command(after_help = "Exit code: 0 all are valid, 1 something can't be read, 3 something is refused.")]
    Validate(validate::ValidateCommand),
    /// Print what a shell needs to complete lakehook's commands and flags
    #[command(after_help = "bash: source <(lakehook completions bash); the Debian package brings all three.")]
    Completions(generate::CompletionsCommand),
    /// Write manual pages, one a command, into a directory
    Man(generate::ManCommand),
}

#[derive(Args, Debug)]
struct SandboxCommand {
    #[command(flatten)]
    args: SandboxArgs,
    #[command(flatten)]
    log: crate::settings::LogArgs,
}

#[derive(Args, Debug)]
struct CheckCommand {
    #[command(flatten)]
    settings: Settings,
    /// A Subscription of the CDR as a JSON file, to be looked through for known traps
    #[arg(long, value_name = "FILE", help_heading = "Check")]
    subscription: Option<PathBuf>,
}

const SETTINGS: &str = "Every setting is a flag, an environment variable (LAKEHOOK_ and the flag in capitals, - as _) and a key of the TOML file of --config; a flag beats a variable, a variable the file.";

/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 there are differences or refusals.
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const DIFFERENCES: u8 = 3;

/// Where values come from, for error texts.
struct Sources {
    matches: ArgMatches,
    file: Option<File>,
}

impl Sources {
    fn of(&self, setting: &str) -> Option<String> {
        let id = setting.replace('-', "_");
        let (_, matches) = self.matches.subcommand()?;
        match matches.try_contains_id(&id).ok()?.then(|| matches.value_source(&id))?? {
            ValueSource::CommandLine => Some("from the command line".into()),
            ValueSource::EnvVariable => Some(format!("from {}", variable(setting))),
            _ => match &self.file {
                Some(file) if file.sets(setting) => Some(format!("from {}", file.path.display())),
                _ => Some("its default".into()),
            },
        }
    }

    /// Variables that look like settings and are none.
    fn unknown_variables(&self) -> Vec<String> {
        let command = Cli::command();
        let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let known: Vec<_> = arguments.filter_map(|argument| argument.get_env()).collect();
        let mut unknown: Vec<_> = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| !known.contains(&name.as_os_str()))
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with("LAKEHOOK_"))
            .collect();
        unknown.sort();
        unknown
    }

    fn locate(&self, error: SettingsError) -> SettingsError {
        let source = self.of(error.setting());
        let other = error.other().and_then(|other| self.of(other));
        error.located(source.as_deref()).other_located(other.as_deref())
    }
}

fn variable(setting: &str) -> String {
    format!("LAKEHOOK_{}", setting.to_ascii_uppercase().replace('-', "_"))
}

/// Every command there is. What `dead-letters` takes may stand behind its own commands too.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("dead-letters", |command| {
        command.mut_args(|argument| match argument.get_long() {
            Some("help") | None => argument,
            Some(_) => argument.global(true),
        })
    })
}

/// The whole program; errors are on stderr when it returns.
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments = lambda::arguments(arguments);
    let (command, file) = match with_file(command(), &arguments) {
        Ok(found) => found,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let sources = Sources { matches, file };
    match cli.command {
        Commands::Serve(settings) => serve::run(*settings, &sources).await,
        Commands::Sandbox(command) => sandbox::run(&command.args, &command.log, &sources).await,
        Commands::Check(command) => {
            check::run(command.settings, command.subscription.as_deref(), &sources).await
        }
        Commands::Resend(command) => resend::run(*command, &sources).await,
        Commands::Explain(command) => explain::run(*command, &sources).await,
        Commands::Canary(command) => canary::run(*command, &sources).await,
        Commands::Status(command) => ask::status(*command, &sources).await,
        Commands::LogLevel(command) => ask::log_level(*command, &sources).await,
        Commands::Faults(command) => ask::faults(command).await,
        Commands::Subscribe(command) => subscribe::run(*command, &sources).await,
        Commands::Unsubscribe(command) => subscribe::unsubscribe(*command, &sources).await,
        Commands::DeadLetters(command) => deadletters::run(*command, &sources).await,
        Commands::Consume(command) => consume::run(*command, &sources).await,
        Commands::Backfill(command) => backfill::run(*command, &sources).await,
        Commands::Reconcile(command) => reconcile::run(*command, &sources).await,
        Commands::Digest(command) => digest::run(&command).await,
        Commands::Validate(command) => validate::run(&command),
        Commands::Completions(command) => generate::completions(&command),
        Commands::Man(command) => generate::man(&command),
    }
}

/// clap names the flag; where the value came from the environment it does not say so. Values of the file have
/// been tried before (`settings::with_file`).
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation)
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
    {
        let flag = argument.split_whitespace().next().unwrap_or_default().trim_start_matches('-');
        let variable = variable(flag);
        let on_line = std::env::args().any(|arg| arg.trim_start_matches('-').split('=').next() == Some(flag));
        if !on_line && std::env::var_os(&variable).is_some() {
            say(&format!("The value comes from the environment variable {variable}."));
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
}

/// Resources as `Type/id`; `-` reads them from stdin, one a line.
fn keys(given: &[String]) -> Result<Vec<Key>, String> {
    let mut texts = Vec::new();
    for text in given {
        if text == "-" {
            for line in std::io::stdin().lock().lines() {
                texts.push(line.map_err(|error| format!("stdin: {error}"))?.trim().to_owned());
            }
        } else {
            texts.push(text.clone());
        }
    }
    texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| Key::parse(text).map_err(|error| format!("`{text}` is not Type/id: {error}")))
        .collect()
}

/// The way of spans to the collector, where one is named.
fn traces(settings: &Settings, metrics: TraceMetrics, sources: &Sources) -> Result<Option<Traces>, ExitCode> {
    let collector = collector(settings).map_err(|error| fail(USAGE, &sources.locate(error).to_string()))?;
    let started = collector.map(|collector| Traces::start(collector, metrics)).transpose();
    started.map_err(|text| fail(USAGE, &format!("--otlp-endpoint: {text}")))
}

fn fail(code: u8, text: &str) -> ExitCode {
    say(&format!("error: {text}"));
    ExitCode::from(code)
}

/// For people at a terminal, and beside the log: stderr.
#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

/// For scripts: stdout. A reader that is gone is no reason to die.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
