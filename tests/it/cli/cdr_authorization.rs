//! How lakehook authenticates at the CDR: which settings go together, and what each wrong one is told.

use super::{SECRET, directory, file, run};

const SERVE: [&str; 8] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--healthlake-endpoint",
    "https://healthlake.us-east-1.amazonaws.com/datastore/0123456789abcdef0123456789abcdef",
    "--cdr-url=https://cdr.example.org/fhir",
];
const CLIENT: [&str; 2] = ["--cdr-oauth-client-id", "me"];

async fn refused(arguments: &[&str], says: &[&str]) {
    run(&[&SERVE[..], arguments].concat()).await.refused(says);
}

#[tokio::test]
async fn one_kind_of_authorization_only() {
    let directory = directory();
    let secret = file(&directory, "secret", SECRET);
    let secret = secret.to_str().unwrap();
    let client = [&CLIENT[..], &["--cdr-oauth-client-secret", SECRET]].concat();
    for (flag, value) in
        [("--cdr-token", SECRET), ("--cdr-token-file", secret), ("--cdr-basic", "user:password")]
    {
        let both = [&client[..], &[flag, value]].concat();
        refused(&both, &[flag, "--cdr-oauth-client-id", "one Authorization header"]).await;
    }
    let both = [&client[..], &["--cdr-oauth-client-secret-file", secret]].concat();
    refused(&both, &["--cdr-oauth-client-secret-file", "never both"]).await;
    let both = [&client[..], &["--cdr-oauth-key-file", secret]].concat();
    refused(&both, &["--cdr-oauth-key-file", "--cdr-oauth-client-secret", "by one of them"]).await;
}

#[tokio::test]
async fn what_oauth2_needs() {
    let directory = directory();
    let (empty, wrong) = (file(&directory, "empty", "\n"), file(&directory, "wrong", SECRET));
    let (empty, wrong) = (empty.to_str().unwrap(), wrong.to_str().unwrap());
    refused(&CLIENT, &["--cdr-oauth-client-id", "--cdr-oauth-client-secret-file", "--cdr-oauth-key-file"])
        .await;
    for (flag, value) in [
        ("--cdr-oauth-client-secret", SECRET),
        ("--cdr-oauth-key-file", wrong),
        ("--cdr-oauth-token-url", "https://idp.example.org/token"),
        ("--cdr-oauth-scope", "system/*.read"),
    ] {
        refused(&[flag, value], &[flag, "needs --cdr-oauth-client-id"]).await;
    }
    let with = |more: &[&'static str]| [&CLIENT[..], more].concat();
    refused(&[&CLIENT[..], &["--cdr-oauth-client-secret-file", empty]].concat(), &[empty, "is empty"]).await;
    refused(
        &with(&["--cdr-oauth-client-secret-file", "/nonexistent/secret"]),
        &["--cdr-oauth-client-secret-file", "/nonexistent/secret: No such file"],
    )
    .await;
    refused(
        &[&CLIENT[..], &["--cdr-oauth-key-file", wrong]].concat(),
        &["--cdr-oauth-key-file", wrong, "neither a private key in PEM nor a JWK"],
    )
    .await;
    for (url, says) in [
        ("http://idp.example.org/token", "--allow-insecure-upstream"),
        ("idp.example.org/token", "is not a URL"),
    ] {
        let arguments =
            [&CLIENT[..], &["--cdr-oauth-client-secret", SECRET, "--cdr-oauth-token-url", url]].concat();
        refused(&arguments, &["--cdr-oauth-token-url", says]).await;
    }
}

#[tokio::test]
async fn oauth2_is_for_a_cdr() {
    let arguments = [&SERVE[..7], &CLIENT, &["--cdr-oauth-client-secret", SECRET]].concat();
    run(&arguments).await.refused(&["--cdr-oauth-client-id", "needs --cdr-url"]);
}
