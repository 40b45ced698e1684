//! Flags, variables and the file: which one counts, and what a wrong one is told.

use super::{ANY_PORT, SANDBOX, SECRET, directory, file, ready, run, run_with};

const STORE: [&str; 2] = [
    "--healthlake-endpoint",
    "https://healthlake.us-east-1.amazonaws.com/datastore/0123456789abcdef0123456789abcdef",
];

fn serve<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["serve"].into_iter().chain(ANY_PORT).chain(arguments.iter().copied()).collect()
}

fn sandboxed<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ANY_PORT.into_iter().chain(SANDBOX).chain(arguments.iter().copied()).collect()
}

#[tokio::test]
async fn version_and_unknown_flags() {
    let ran = run(&["--version"]).await;
    assert_eq!((ran.code, ran.out.trim()), (0, concat!("lakehook ", env!("CARGO_PKG_VERSION"))));
    run(&["serve", "--deadlin", "8s"]).await.refused(&["--deadlin", "--deadline"]);
    run(&["nonsense"]).await.refused(&["nonsense"]);
    run(&[]).await.refused(&["serve", "sandbox", "check"]);
}

#[tokio::test]
async fn an_invalid_value_is_told_by_setting_source_and_fix() {
    let fix = ["--deadline", "write it as 8s"];
    run(&serve(&["--deadline", "8"])).await.refused(&fix);
    let ran = run_with(&serve(&[]), &[("LAKEHOOK_DEADLINE", "8")]).await;
    ran.refused(&fix);
    ran.refused(&["environment variable LAKEHOOK_DEADLINE"]);

    let directory = directory();
    let config = file(&directory, "lakehook.toml", "deadline = 8\n");
    let path = config.to_str().unwrap();
    let ran = run(&serve(&["--config", path])).await;
    ran.refused(&fix);
    ran.refused(&[path, "`deadline`"]);
    let ran = run_with(&serve(&[]), &[("LAKEHOOK_CONFIG", path)]).await;
    ran.refused(&[path, "`deadline`"]);
}

#[tokio::test]
async fn a_value_that_settings_refuse_is_told_with_its_source() {
    let says = ["--deadline", "below 100ms"];
    run(&serve(&[&STORE[..], &["--deadline", "1ms"]].concat())).await.refused(&says);
    let ran = run_with(&serve(&STORE), &[("LAKEHOOK_DEADLINE", "1ms")]).await;
    ran.refused(&["from LAKEHOOK_DEADLINE", says[1]]);
    let directory = directory();
    let config = file(&directory, "lakehook.toml", "deadline = \"1ms\"\n");
    let path = config.to_str().unwrap();
    let ran = run(&serve(&[&STORE[..], &["--config", path]].concat())).await;
    ran.refused(&[&format!("from {path}"), says[1]]);
}

#[tokio::test]
async fn a_filter_that_names_nothing_is_refused() {
    let types = [&STORE[..], &["--filter-deny-types", "Patient,observation"]].concat();
    run(&serve(&types)).await.refused(&["--filter-deny-types", "`observation`", "from the command line"]);
    let ran = run_with(&serve(&STORE), &[("LAKEHOOK_FILTER_SECURITY_LABELS", "a|b|c")]).await;
    ran.refused(&["--filter-security-labels", "system|code", "LAKEHOOK_FILTER_SECURITY_LABELS"]);
}

#[tokio::test]
async fn wrong_files_are_told_where_and_how() {
    let directory = directory();
    for (text, says) in [
        ("deadlin = \"8s\"\n", &["`deadlin` is no setting", "did you mean `deadline`?"][..]),
        ("max_body = 1\n", &["did you mean `max-body`?"]),
        ("quite-another-thing = 1\n", &["--help"]),
        ("[listening]\nlisten = \"127.0.0.1:0\"\n", &["`listening` is a table", "at the top"]),
        ("sandbox = \"yes\"\n", &["`sandbox`", "true or false"]),
        ("validation = \"lax\"\n", &["`validation`", "strict, structure, off"]),
        ("deadline = [\"1s\", \"2s\"]\n", &["`deadline`", "one value"]),
        ("max-depth = 1.5\n", &["`max-depth`", "whole number"]),
        ("listen = \"127.0.0.1:0\"\ntoken = \"a-secret-that-must-not-be-seen\n", &["line 2", "not TOML"]),
    ] {
        let config = file(&directory, "lakehook.toml", text);
        run(&["serve", "--config", config.to_str().unwrap()]).await.refused(says);
    }
    run(&["serve", "--config", "/nonexistent/lakehook.toml"])
        .await
        .refused(&["/nonexistent/lakehook.toml", "No such file"]);
}

#[tokio::test]
async fn a_flag_beats_a_variable_beats_the_file() {
    let directory = directory();
    let config = file(&directory, "lakehook.toml", "base-path = \"/from-file\"\n");
    let path = config.to_str().unwrap();
    let variable = [("LAKEHOOK_BASE_PATH", "/from-variable")];
    let line = ready(&sandboxed(&["--config", path]), &[]).await;
    assert!(line.ends_with("/from-file"), "{line}");
    let line = ready(&sandboxed(&["--config", path]), &variable).await;
    assert!(line.ends_with("/from-variable"), "{line}");
    let line = ready(&sandboxed(&["--config", path, "--base-path", "/from-flag"]), &variable).await;
    assert!(line.ends_with("/from-flag"), "{line}");
}

#[tokio::test]
async fn help_does_not_show_the_file_s_or_the_environment_s_secrets() {
    let directory = directory();
    let text = format!("token = \"{SECRET}\"\ncdr-basic = \"user:{SECRET}\"\ndeadline = \"7s\"\n");
    let config = file(&directory, "lakehook.toml", &text);
    let environment = [("LAKEHOOK_HMAC_SECRET", SECRET)];
    let ran = run_with(&["serve", "--config", config.to_str().unwrap(), "--help"], &environment).await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("[default: 7s]"), "{}", ran.out);
}

#[tokio::test]
async fn the_endpoint_is_needed_and_is_https() {
    run(&serve(&[])).await.refused(&[
        "--healthlake-endpoint is missing",
        "describe-fhir-datastore",
        "--sandbox",
    ]);
    let endpoint = |url: &'static str| serve(&["--healthlake-endpoint", url]);
    let far = "http://healthlake.example.org/datastore/a";
    run(&endpoint(far)).await.refused(&[
        "--healthlake-endpoint",
        "command line",
        "https://",
        "--allow-insecure-upstream",
    ]);
    run(&endpoint("healthlake.us-east-1.amazonaws.com")).await.refused(&["--healthlake-endpoint", "URL"]);
    run(&endpoint("https://healthlake.us-east-1.amazonaws.com")).await.refused(&["/datastore/{id}"]);
    run(&serve(&[&SANDBOX[..], &STORE[..]].concat())).await.refused(&["--sandbox", "one of the two"]);
}

#[tokio::test]
async fn without_authentication_only_loopback_is_served() {
    let open = ["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"];
    let arguments = [&["serve"][..], &open, &STORE].concat();
    run(&arguments).await.refused(&["--listen", "0.0.0.0:0", "--token-file", "--allow-anonymous"]);
    let anonymous = [&open[..], &SANDBOX, &["--allow-anonymous"]].concat();
    let line = ready(&anonymous, &[]).await;
    assert!(line.starts_with("ready http://0.0.0.0:"), "{line}");
    let switch = [("LAKEHOOK_ALLOW_ANONYMOUS", "true")];
    assert!(ready(&[&open[..], &SANDBOX].concat(), &switch).await.starts_with("ready "));
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin-listen", "--sandbox-listen"] {
        let mut arguments = vec!["serve", "--sandbox"];
        for other in ["--listen", "--admin-listen", "--sandbox-listen"] {
            arguments.extend([other, if other == flag { &address } else { "127.0.0.1:0" }]);
        }
        let ran = run(&arguments).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.says(&[flag, &address, "another process", "choose another port"]);
    }
    let ran = run(&["sandbox", "--sandbox-listen", &address]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says(&["--sandbox-listen", "another process"]);
}

#[tokio::test]
async fn the_sandbox_is_for_loopback() {
    for command in [&["sandbox"][..], &["serve", "--sandbox"], &["check", "--sandbox"]] {
        let arguments = [command, &["--sandbox-listen", "0.0.0.0:0"]].concat();
        run(&arguments).await.refused(&["--sandbox-listen", "loopback"]);
    }
    run(&["sandbox", "--sandbox-fault", "{\"stats\":503}"]).await.refused(&["--sandbox-fault", "stats"]);
}

#[tokio::test]
async fn secrets_in_files_must_be_there() {
    let directory = directory();
    let empty = file(&directory, "empty", "\n \n");
    let short = file(&directory, "short", "short\n");
    let (empty, short) = (empty.to_str().unwrap(), short.to_str().unwrap());
    for flag in ["--token-file", "--basic-file", "--hmac-secret-file"] {
        run(&serve(&[&STORE[..], &[flag, "/nonexistent/secret"]].concat())).await.refused(&[
            flag,
            "/nonexistent/secret",
            "No such file",
        ]);
        run(&serve(&[&STORE[..], &[flag, empty]].concat())).await.refused(&[flag, empty, "no secret"]);
        run(&serve(&[&STORE[..], &[flag, short]].concat())).await.refused(&[flag, "8 characters"]);
    }
    run(&serve(&[&STORE[..], &["--basic", SECRET]].concat())).await.refused(&["--basic", "user:password"]);
    let cdr =
        [&STORE[..], &["--cdr-url", "https://cdr.example.org/fhir", "--cdr-token-file", empty]].concat();
    run(&serve(&cdr)).await.refused(&["--cdr-token-file", empty, "no token"]);
}

#[tokio::test]
async fn a_secret_comes_from_a_value_or_a_file_never_both() {
    let directory = directory();
    let secret = file(&directory, "secret", SECRET);
    let secret = secret.to_str().unwrap();
    for value in ["--token", "--basic", "--hmac-secret", "--cdr-token"] {
        let file_flag = format!("{value}-file");
        let both = [&STORE[..], &[value, SECRET, &file_flag, secret]].concat();
        run(&serve(&both)).await.refused(&[&file_flag, value, "never both"]);
    }
    // Across sources too, each named.
    let config = file(&directory, "lakehook.toml", &format!("token = \"{SECRET}\"\n"));
    let config = config.to_str().unwrap();
    let ran =
        run_with(&serve(&[&STORE[..], &["--config", config]].concat()), &[("LAKEHOOK_TOKEN_FILE", secret)])
            .await;
    ran.refused(&["LAKEHOOK_TOKEN_FILE", &format!("--token is from {config}"), "one a line"]);
    let basic = [&STORE[..], &["--cdr-basic", "user:password", "--cdr-token", SECRET]].concat();
    run(&serve(&basic)).await.refused(&["--cdr-basic", "--cdr-token"]);
}

#[tokio::test]
async fn what_needs_another_setting_says_so_from_the_file_too() {
    let directory = directory();
    let config = file(&directory, "lakehook.toml", "tls-cert = \"/run/tls.crt\"\n");
    let config = config.to_str().unwrap();
    let ran = run(&serve(&[&STORE[..], &["--config", config]].concat())).await;
    ran.refused(&["--tls-cert", config, "needs --tls-key"]);
    let session = [&STORE[..], &["--role-session-duration", "1h"]].concat();
    run(&serve(&session)).await.refused(&["--role-session-duration", "needs --role-arn"]);
    let arn = "arn:aws:iam::111122223333:role/lakehook";
    let session = [&STORE[..], &["--role-arn", arn, "--role-session-duration", "1m"]].concat();
    run(&serve(&session)).await.refused(&["--role-session-duration", "15m"]);
}

#[tokio::test]
async fn dead_letters_need_a_place_and_settings_that_fit_it() {
    let directory = directory();
    let no_key = file(&directory, "key", "too-short\n");
    let no_key = no_key.to_str().unwrap();
    for (arguments, says) in [
        (&["--dead-letters", "dir"][..], &["--dead-letters", "--data-dir"][..]),
        (&["--dead-letters", "s3:letters"], &["--dead-letters", "s3://BUCKET"]),
        (&["--dead-letters", "sqs:letters"], &["--dead-letters", "queue's https:// URL"]),
        (&["--dead-letters-kms-key", "alias/letters"], &["--dead-letters-kms-key", "s3://"]),
        (&["--dead-letters-endpoint", "http://127.0.0.1:1"], &["--dead-letters-endpoint", "s3://"]),
        (&["--dead-letters-max", "0"], &["--dead-letters-max", "--dead-letters off"]),
        (&["--dead-letters-key-file", no_key], &["--dead-letters-key-file", "line 1", "openssl rand"]),
        (&["--dead-letters-key-file", "/nonexistent/key"], &["--dead-letters-key-file", "No such file"]),
    ] {
        run(&serve(&[&STORE[..], arguments].concat())).await.refused(says);
    }
}
