//! What packages bring beside the program: completions that shells take, and a manual page for each command.

use super::{directory, run};

/// `serve`, `dead-letters list` and so on, as `--help` names them.
async fn commands() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = waiting.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(&words).await.out;
        if let Some((_, below)) = help.split_once("Commands:\n") {
            let below = below.lines().take_while(|line| !line.is_empty());
            let names =
                below.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
            let names =
                names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
            waiting.extend(names.map(|name| [command.clone(), vec![name.to_owned()]].concat()));
        }
        if !command.is_empty() {
            found.push(command);
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

#[tokio::test]
async fn there_is_a_manual_page_for_each_command() {
    let directory = directory();
    let pages = directory.path().join("man");
    let ran = run(&["man", pages.to_str().unwrap()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = |name: &str| {
        std::fs::read_to_string(pages.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let commands = commands().await;
    for command in &commands {
        let page = page(&format!("lakehook-{}", command.join("-")));
        assert!(page.contains(".TH") && page.contains(".SH SYNOPSIS"), "{command:?}: {page}");
    }
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), commands.len() + 1);
    let serve = page("lakehook-serve");
    for word in ["healthlake\\-endpoint", "LAKEHOOK_HEALTHLAKE_ENDPOINT"] {
        assert!(serve.contains(word), "{word}: {serve}");
    }
    let file = directory.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let ran = run(&["man", file.to_str().unwrap()]).await;
    assert!(ran.code == 1 && ran.err.contains("taken"), "{ran:?}");
}

#[tokio::test]
async fn completions_name_every_command_and_shells_take_them() {
    let directory = directory();
    let commands = commands().await;
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        for name in commands.iter().map(|command| command.last().unwrap()) {
            assert!(ran.out.contains(name.as_str()), "{shell}: {name}");
        }
        assert!(ran.out.contains("healthlake-endpoint"), "{shell}");
        let file = directory.path().join(shell);
        std::fs::write(&file, &ran.out).unwrap();
        // Whichever shell is here reads it.
        match tokio::process::Command::new(shell).arg("-n").arg(&file).output().await {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr)),
            Err(error) => assert!(shell != "bash" && error.kind() == std::io::ErrorKind::NotFound, "{error}"),
        }
    }
    // As a person does: lakehook dead-<Tab>
    let file = directory.path().join("bash");
    let script = format!(
        ". {}; COMP_WORDS=(lakehook dead-); COMP_CWORD=1; _lakehook lakehook dead- lakehook; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let completed = tokio::process::Command::new("bash").args(["-c", &script]).output().await.unwrap();
    assert_eq!(String::from_utf8(completed.stdout).unwrap().trim(), "dead-letters");
    assert_eq!(run(&["completions", "csh"]).await.code, 2);
}
