//! Dead letters on the wire and at the command line: what is refused for good is kept before the CDR is told that all
//! is well, and what can't be kept is the CDR's to know.

mod aws;
mod commands;
mod keeping;
mod redrive;
mod sealing;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::app::{Answer, Builder, TestApp, lakehook};

/// In each refused resource, and in HealthLake's texts about it.
pub const MARK: &str = "MARK7351";

/// A HealthLake that refuses every content.
pub const REFUSE: &str = r#"{"status":400,"service":"healthlake","body":"{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"processing\",\"diagnostics\":\"it quotes MARK7351\",\"location\":[\"Patient.MARK7351\"]}]}"}"#;

/// A Patient that our own validation refuses.
pub fn invalid(id: &str, version: u32) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"versionId":"{version}"}},"name":[{{"family":"{MARK}"}}],"birthDate":"{MARK}"}}"#
    )
}

pub fn valid(id: &str, version: u32) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"versionId":"{version}"}},"name":[{{"family":"{MARK}"}}]}}"#
    )
}

/// An instance with a data directory, and the commands beside it.
pub struct Fixture {
    pub app: TestApp,
    pub directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    pub async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let builder = TestApp::builder().arg("--data-dir", directory.path().display());
        let app = change(builder).start().await;
        let arguments = vec!["--data-dir".to_owned(), directory.path().display().to_string()];
        Self { app, directory, arguments }
    }

    /// For the commands.
    pub fn arg(mut self, flag: &str, value: &str) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    pub fn letters_directory(&self) -> PathBuf {
        self.directory.path().join("dead-letters")
    }

    /// `lakehook dead-letters …` with the instance's settings
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &self.arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    pub async fn run_with(&self, arguments: &[&str], settings: &[&str]) -> Ran {
        let config = self.app.sandbox.config();
        let mut command = lakehook();
        command.arg("dead-letters").args(arguments).args(settings);
        command.args(["--healthlake-endpoint", &self.app.sandbox.endpoint(self.app.sandbox_address)]);
        command.args(["--region", &config.region]);
        command.env("LAKEHOOK_STS_ENDPOINT", format!("http://{}", self.app.sandbox_address));
        command.env("AWS_ACCESS_KEY_ID", &config.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &config.secret_access_key);
        let output = command.output().await.unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// As `list --json` tells them, those refused first at the top.
    pub async fn letters(&self) -> Vec<Value> {
        let ran = self.run(&["list", "--json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.lines()
    }

    /// `reason interaction Type/id`
    pub async fn kept(&self) -> Vec<String> {
        let text = |letter: &Value, field: &str| letter[field].as_str().unwrap().to_owned();
        let letters = self.letters().await;
        let kept =
            letters.iter().map(|letter| ["reason", "interaction", "key"].map(|field| text(letter, field)));
        kept.map(|fields| fields.join(" ")).collect()
    }

    /// What the letter of a resource holds.
    pub async fn payload(&self, key: &str) -> String {
        let ran = self.run(&["export", "--payload", key]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.lines()[0]["payload"].as_str().unwrap().to_owned()
    }
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[track_caller]
pub fn is_kept(answer: &Answer) {
    assert_eq!((answer.status, answer.verdict().as_str()), (200, "dead-lettered"), "{answer:?}");
    for issue in answer.json()["issue"].as_array().unwrap() {
        assert_eq!(issue["severity"], "warning", "{answer:?}");
    }
}
