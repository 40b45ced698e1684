//! Shell completions and manual pages, made from the commands as they are: for packages, and for whoever installs by
//! hand.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::{FAILED, fail, print};

#[derive(Args, Debug)]
pub(super) struct CompletionsCommand {
    /// Whose
    #[arg(value_name = "SHELL")]
    shell: For,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args, Debug)]
pub(super) struct ManCommand {
    /// Made where it is not there; lakehook.1 and a page for each command go into it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn completions(command: &CompletionsCommand) -> ExitCode {
    let shell = match command.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "lakehook", &mut text);
    let mut out = std::io::stdout().lock();
    // A reader that is gone is no reason to complain.
    let _ = out.write_all(&text).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

pub(super) fn man(command: &ManCommand) -> ExitCode {
    let directory = &command.directory;
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(super::command(), directory));
    match written {
        Ok(()) => {
            print(&format!(
                "written to {}: man -l {}",
                directory.display(),
                directory.join("lakehook.1").display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail(FAILED, &format!("{}: {error}", directory.display())),
    }
}
