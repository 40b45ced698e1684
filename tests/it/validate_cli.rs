//! `lakehook validate` as a user meets it: exit codes, both outputs, stdin, directories.

use std::path::Path;
use std::process::{Output, Stdio};

use lakehook::validate::{Mode, Validator};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::app::lakehook;
use crate::support::process::repository;

const GOOD: &str = r#"{"resourceType":"Patient","id":"p1","birthDate":"1970-03-30"}"#;
const BAD_DATE: &str = r#"{"resourceType":"Patient","id":"p2","birthDate":"30.3.1970"}"#;
const UNKNOWN: &str = r#"{"resourceType":"Patient","id":"p3","birthdate":"1970","active":1}"#;
const XML: &str = r#"<?xml version="1.0"?>
<Patient xmlns="http://hl7.org/fhir"><id value="p1"/>
  <birthDate value="30.3.1970"/></Patient>"#;

async fn validate(directory: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = lakehook();
    command.arg("validate").args(arguments).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    let writing = tokio::spawn(async move {
        // A process that does not want its input may be gone before it is written.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    });
    let output = child.wait_with_output().await.unwrap();
    writing.await.unwrap();
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn summary(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap().lines().last().unwrap_or_default().to_owned()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn valid_files_are_counted_and_nothing_is_said_of_them() {
    let output = validate(repository(), &["fixtures/resources"], "").await;
    assert_eq!((code(&output), stdout(&output)), (0, String::new()), "{output:?}");
    let files = std::fs::read_dir(repository().join("fixtures/resources")).unwrap().count();
    assert!(summary(&output).starts_with(&format!("{files} valid, 0 refused, ")), "{}", summary(&output));
    assert!(summary(&output).ends_with(" MB/s"), "{}", summary(&output));
}

#[tokio::test]
async fn a_directory_is_walked_in_order_and_its_other_files_are_left_alone() {
    let folder = folder(&[
        ("b/feed.ndjson", &format!("{GOOD}\n\n{BAD_DATE}\r\n{UNKNOWN}\n")),
        ("a.json", BAD_DATE),
        ("c.XML", XML),
        ("good.json", GOOD),
        ("README.md", "# no resource"),
        (".hidden.json", "{"),
    ]);
    let output = validate(folder.path(), &["."], "").await;
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(summary(&output).starts_with("2 valid, 4 refused, "), "{}", summary(&output));
    let told = stdout(&output);
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["./a.json", "is", "not", "valid", "R4"]);
    assert_eq!(rows[1][..3], ["1:49", "value", "Patient.birthDate"]);
    assert_eq!(rows[2][0], "./b/feed.ndjson:3");
    assert_eq!(rows[3][0], "3:49", "a feed's own lines are counted");
    assert_eq!(rows[4][0], "./b/feed.ndjson:4");
    assert_eq!((rows[5][0], rows[6][0]), ("4:37", "4:65"));
    assert_eq!(rows[7][0], "./c.XML");
    assert_eq!(rows[8][..2], ["value", "Patient.birthDate"], "no place in JSON that nobody wrote");
    assert_eq!(rows.len(), 9, "{told}");
}

#[tokio::test]
async fn json_output_is_one_valid_operation_outcome_a_refusal() {
    let folder = folder(&[("feed.ndjson", &format!("{GOOD}\n{UNKNOWN}\n{{\n"))]);
    let output = validate(folder.path(), &["--output", "json", "feed.ndjson"], "").await;
    assert_eq!(code(&output), 3, "{output:?}");
    let told = stdout(&output);
    let outcomes: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[0]["extension"][0]["valueString"], "feed.ndjson:2");
    assert_eq!(outcomes[0]["issue"].as_array().unwrap().len(), 2);
    assert_eq!(outcomes[0]["issue"][0]["expression"][0], "Patient.birthdate");
    assert!(outcomes[0]["issue"][0]["diagnostics"].as_str().unwrap().contains("line 2, column"));
    assert_eq!(outcomes[1]["extension"][0]["valueString"], "feed.ndjson:3");
    let validator = Validator::new(Mode::Strict, 64);
    for line in told.lines() {
        assert!(validator.json(line.as_bytes()).is_ok(), "we are bound by R4 too: {line}");
    }
}

#[tokio::test]
async fn stdin_may_be_any_form() {
    let folder = TempDir::new().unwrap();
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(GOOD).unwrap()).unwrap();
    let feed = format!("{GOOD}\n").repeat(20_000);
    let good_xml = XML.replace("30.3.1970", "1970-03-30");
    for (text, valid, refused) in [
        (GOOD, 1, 0),
        (&pretty, 1, 0),
        (&format!("{GOOD}\n{BAD_DATE}\n{GOOD}\n"), 2, 1),
        (&feed, 20_000, 0),
        (&good_xml, 1, 0),
        (XML, 0, 1),
        ("", 0, 1),
        ("hello\n", 0, 1),
    ] {
        let output = validate(folder.path(), &["-"], text).await;
        let said = summary(&output);
        assert!(said.starts_with(&format!("{valid} valid, {refused} refused, ")), "{text:.60}: {said}");
        assert_eq!(code(&output), if refused == 0 { 0 } else { 3 });
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_judged() {
    let folder = folder(&[("a.json", BAD_DATE), ("empty/README.md", "")]);
    let output = validate(folder.path(), &["gone.json", "empty", "a.json"], "").await;
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(summary(&output).starts_with("0 valid, 1 refused, 2 unreadable, "), "{}", summary(&output));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("gone.json: ") && stderr.contains("empty: no .json"), "{stderr}");
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let folder = TempDir::new().unwrap();
    let cases: [&[&str]; 4] =
        [&[], &["--validation", "lax", "-"], &["--max-depth", "65", "-"], &["--output", "xml", "-"]];
    for arguments in cases {
        let output = validate(folder.path(), arguments, "").await;
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn the_modes_and_the_depth_are_those_of_serve() {
    let folder = folder(&[("date.json", BAD_DATE), ("unknown.json", UNKNOWN), ("cut.json", "{")]);
    for (mode, valid) in [("strict", 0), ("structure", 1), ("off", 2)] {
        let output = validate(folder.path(), &["--validation", mode, "."], "").await;
        assert!(summary(&output).starts_with(&format!("{valid} valid, ")), "{mode}: {}", summary(&output));
    }
    let deep = r#"{"resourceType":"Patient","name":[{"period":{"start":"2020"}}]}"#;
    for (depth, expected) in [("3", 0), ("2", 3)] {
        assert_eq!(code(&validate(folder.path(), &["--max-depth", depth, "-"], deep).await), expected);
    }
}
