//! `--help` and docs/configuration.md tell the same story, and its examples are accepted.

use lakehook::sandbox::{Config, Sandbox};

use super::{ANY_PORT, SANDBOX, directory, file, run, run_with};
use crate::support::process::repository;

fn page() -> String {
    std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap()
}

/// The first code block of the language.
fn block(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("\n```").unwrap().0.to_owned()
}

fn flags(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start).map(|line| line.strip_prefix("-h, ").unwrap_or(line));
    let lines = lines.filter(|line| line.starts_with("--"));
    let flags: Vec<_> = lines.filter_map(|line| line.split(' ').next()).collect();
    assert!(!flags.is_empty(), "{help}");
    flags
}

#[tokio::test]
async fn help_is_grouped_by_concern() {
    let help = run(&["serve", "--help"]).await.out;
    let places: Vec<usize> = [
        "General",
        "Listening",
        "Who may call",
        "HealthLake",
        "AWS credentials",
        "Deliveries",
        "Order",
        "Dead letters",
        "The CDR's own API",
        "Subscription at the CDR",
        "Control",
        "Ending",
        "Logs",
        "Sandbox",
    ]
    .iter()
    .map(|heading| {
        help.find(&format!("\n{heading}:\n")).unwrap_or_else(|| panic!("no group {heading}: {help}"))
    })
    .collect();
    assert!(places.is_sorted(), "{help}");
    // Nothing but --help stands outside of a group.
    let loose = help.split_once("\nOptions:\n").unwrap().1.split_once("\nGeneral:\n").unwrap().0;
    assert_eq!(loose.matches("--").count(), 1, "{loose}");
    assert!(run(&["check", "--help"]).await.out.contains("\nCheck:\n      --subscription"));
}

/// Of a line below `Commands:`; a long description goes on on the next line.
fn name(line: &str) -> Option<&str> {
    line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next()
}

#[tokio::test]
async fn every_flag_is_in_the_documentation_and_every_one_there_exists() {
    let help = run(&["--help"]).await.out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(name).collect();
    assert!(commands.contains(&"serve"), "{help}");
    let mut known = std::collections::BTreeSet::new();
    let mut waiting: Vec<Vec<&str>> = commands.iter().map(|command| vec![*command]).collect();
    while let Some(command) = waiting.pop() {
        if command.contains(&"help") {
            continue;
        }
        let help: &'static str =
            Box::leak(run(&[&command[..], &["--help"]].concat()).await.out.into_boxed_str());
        known.extend(flags(help).into_iter().map(str::to_owned));
        // Commands of a command.
        if let Some((_, below)) = help.split_once("\nCommands:\n") {
            let below = below.lines().take_while(|line| !line.is_empty());
            let below = below.filter_map(name);
            assert!(command.len() < 4, "{help}");
            waiting.extend(below.map(|name| [&command[..], &[name]].concat()));
        }
    }
    let mut pages = String::new();
    for entry in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages += &std::fs::read_to_string(path).unwrap();
        }
    }
    for flag in known.iter().filter(|flag| !["--help", "--version"].contains(&flag.as_str())) {
        assert!(pages.contains(&format!("| `{flag}` |")), "{flag} is in no table of docs/");
    }
    for row in pages.lines().filter_map(|line| line.strip_prefix("| `--")) {
        let flag = format!("--{}", row.split('`').next().unwrap());
        assert!(known.contains(&flag), "{flag} is documented and does not exist");
    }
}

#[tokio::test]
async fn the_documented_file_is_accepted() {
    let directory = directory();
    let toml = block(&page(), "toml");
    // What is commented out has the right names and values too.
    let all: String = toml
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let config = file(&directory, "all.toml", &all);
    let ran = run(&["serve", "--config", config.to_str().unwrap(), "--help"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");

    // The rest works as it stands, with a sandbox in AWS's place.
    let token = file(&directory, "token", "a-token-of-the-cdr\n");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sandbox = Sandbox::new(Config::default());
    tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
    let config = toml
        .replace("/run/secrets/lakehook-token", token.to_str().unwrap())
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("127.0.0.1:8081", "127.0.0.1:0")
        .replace("https://healthlake.us-east-1.amazonaws.com", &format!("http://{address}"));
    let config = file(&directory, "lakehook.toml", &config);
    let sts = format!("http://{address}");
    let aws = sandbox.config();
    let environment = [
        ("AWS_ACCESS_KEY_ID", aws.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &aws.secret_access_key),
        ("LAKEHOOK_STS_ENDPOINT", &sts),
        ("LAKEHOOK_REGION", &aws.region),
    ];
    let ran = run_with(&["check", "--config", config.to_str().unwrap()], &environment).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("data store", "ok", &[]);
}

#[tokio::test]
async fn the_documented_variables_are_settings() {
    let block = page().split_once("The same by variables").unwrap().1.to_owned();
    let block = self::block(&block, "sh");
    let environment: Vec<(&str, &str)> = block.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(environment.len() > 3, "{block}");
    // Beside the sandbox, whose endpoint and missing files would be refused.
    let kept: Vec<_> = environment.iter().copied().filter(|(_, value)| !value.contains('/')).collect();
    let ran = run_with(&[&["check"][..], &SANDBOX, &ANY_PORT].concat(), &kept).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let help = run(&["serve", "--help"]).await.out;
    for (name, _) in environment {
        assert!(help.contains(name), "{name}");
    }
}
