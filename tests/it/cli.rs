//! The command line: what is accepted, what is refused, and whether a newcomer can tell what to do.

mod cdr_authorization;
mod check;
mod check_order;
mod documentation;
mod generate;
mod proxies;
mod refusals;
mod settings;
mod smart;
mod subscribe;
mod subscriptions;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::app::lakehook;

/// No output may hold it.
const SECRET: &str = "a-secret-that-must-not-be-seen";

/// Ports that the system chooses.
const ANY_PORT: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
const SANDBOX: [&str; 3] = ["--sandbox", "--sandbox-listen", "127.0.0.1:0"];

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Refused as wrong usage, with all of these in the error.
    fn refused(&self, says: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        self.says(says);
    }

    fn says(&self, says: &[&str]) {
        for text in says {
            assert!(self.err.contains(text), "`{text}` is not in: {}", self.err);
        }
    }

    /// The table's row about `what` has this outcome and these texts.
    #[track_caller]
    fn row(&self, what: &str, outcome: &str, says: &[&str]) {
        let row = self.find(what).unwrap_or_else(|| panic!("no row `{what}` in:\n{}{}", self.out, self.err));
        assert!(row.starts_with(outcome), "{row}\n{}", self.out);
        for text in says {
            assert!(row.contains(text), "`{text}` is not in `{row}`");
        }
    }

    /// A row as one line.
    fn find(&self, what: &str) -> Option<String> {
        let mut lines = self.out.lines().skip_while(|line| {
            let cells: Vec<_> = line.trim_start().splitn(2, ' ').collect();
            !(line.starts_with("  ") && cells.get(1).is_some_and(|rest| rest.trim_start().starts_with(what)))
        });
        let first = lines.next()?;
        let more = lines.take_while(|line| line.starts_with("           "));
        let words: Vec<&str> = std::iter::once(first).chain(more).flat_map(str::split_whitespace).collect();
        Some(words.join(" "))
    }
}

async fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, &[]).await
}

async fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = lakehook();
    command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true);
    let output =
        timeout(Duration::from_secs(60), command.output()).await.expect("ends within a minute").unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let ran =
        Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) };
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "a secret is shown: {ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran
}

/// The line `ready …` of a `serve` that starts; it is ended then.
async fn ready(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command: Command = lakehook();
    command.arg("serve").args(arguments).envs(environment.iter().copied());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        timeout(Duration::from_secs(60), lines.next_line()).await.expect("says something within a minute");
    let line = line.unwrap().expect("starts");
    child.kill().await.unwrap();
    line
}

/// A file of this test.
fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
