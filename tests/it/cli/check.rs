//! `lakehook check` before a sandbox: settings and credentials.

use std::net::SocketAddr;

use lakehook::sandbox::{Config, Fault, Sandbox};

use super::{ANY_PORT, Ran, SANDBOX, directory, run, run_with};

const ROLE: &str = "arn:aws:iam::111122223333:role/lakehook";

/// A sandbox, and `check` with settings that are right for it until a test changes them.
pub(super) struct Store {
    pub(super) sandbox: Sandbox,
    pub(super) address: SocketAddr,
    key: String,
    secret: String,
}

impl Store {
    pub(super) async fn start() -> Self {
        Self::of(Sandbox::new(Config::default())).await
    }

    pub(super) async fn of(sandbox: Sandbox) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
        let (key, secret) =
            (sandbox.config().access_key_id.clone(), sandbox.config().secret_access_key.clone());
        Self { sandbox, address, key, secret }
    }

    pub(super) fn fault(&self, json: serde_json::Value) {
        self.sandbox.add_fault(serde_json::from_value::<Fault>(json).unwrap());
    }

    pub(super) async fn check(&self, arguments: &[&str]) -> Ran {
        self.check_at(&self.sandbox.endpoint(self.address), &format!("http://{}", self.address), arguments)
            .await
    }

    async fn check_at(&self, endpoint: &str, sts: &str, arguments: &[&str]) -> Ran {
        let given = [endpoint, sts, &self.sandbox.config().region];
        let defaults = ["--healthlake-endpoint", "--sts-endpoint", "--region"];
        let defaults = defaults.into_iter().zip(given).filter(|(flag, _)| !arguments.contains(flag));
        let mut line = vec!["check"];
        line.extend(ANY_PORT);
        line.extend(defaults.flat_map(|(flag, value)| [flag, value]));
        line.extend(arguments);
        let environment = [("AWS_ACCESS_KEY_ID", self.key.as_str()), ("AWS_SECRET_ACCESS_KEY", &self.secret)];
        let ran = run_with(&line, &environment).await;
        assert!(!ran.out.contains(&self.secret) && !ran.err.contains(&self.secret), "{ran:?}");
        ran
    }
}

#[tokio::test]
async fn with_the_embedded_sandbox_everything_is_fine_and_fits_100_columns() {
    let ran = run(&[&["check"][..], &SANDBOX, &ANY_PORT].concat()).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    for what in [
        "settings",
        "--listen",
        "TLS",
        "who may call",
        "--keep-alive",
        "--deadline",
        "region",
        "credentials",
        "STS",
        "data store",
        "clock",
        "authorization",
    ] {
        ran.row(what, "ok", &[]);
    }
    ran.row("HealthLake validation", "ok", &["strict", "meta.profile", "structure-only"]);
    ran.row("resource types", "ok", &["supported", "AuditEvent", "not mirrored"]);
    ran.row("CDR", "skipped", &["--cdr-url", "--subscription"]);
    assert!(ran.out.ends_with("Nothing failed, no warnings.\n"), "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'), "no colours");
}

#[tokio::test]
async fn a_role_or_the_chain_s_own_credentials() {
    let store = Store::start().await;
    let ran = store.check(&["--role-arn", ROLE]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("credentials", "ok", &[ROLE]);
    ran.row("STS", "ok", &["arn:aws:sts::111122223333:assumed-role/lakehook/lakehook"]);
    let ran = store.check(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("credentials", "ok", &["long-lived", "--role-arn"]);
    let writes = store.sandbox.history().len();
    assert_eq!(writes, 0, "a check writes nothing");
}

#[tokio::test]
async fn sts_down_fails_only_where_a_role_is_assumed() {
    let store = Store::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (endpoint, sts) = (store.sandbox.endpoint(store.address), format!("http://{nobody}"));
    let ran = store.check_at(&endpoint, &sts, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("STS", "warning", &["not needed to deliver", "--sts-endpoint"]);
    ran.row("data store", "ok", &[]);
    let ran = store.check_at(&endpoint, &sts, &["--role-arn", ROLE]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("credentials", "failed", &[ROLE, "--sts-endpoint"]);
    ran.row("data store", "skipped", &[]);
}

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let mut store = Store::start().await;
    store.secret = "another/secret/than/the/one/of/the/key".into();
    for arguments in [&[][..], &["--role-arn", ROLE]] {
        let ran = store.check(arguments).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.row(
            if arguments.is_empty() { "STS" } else { "credentials" },
            "failed",
            &["secret access key does not belong"],
        );
    }
    let ran = store.check(&[]).await;
    ran.row("data store", "failed", &["InvalidSignatureException", "secret access key does not belong"]);
    store.key = "AKIAUNKNOWNUNKNOWN00".into();
    let ran = store.check(&[]).await;
    ran.row("STS", "failed", &["does not know this access key"]);
    ran.row("data store", "failed", &["UnrecognizedClientException", "does not know this access key"]);
}

#[tokio::test]
async fn no_credentials_at_all() {
    let store = Store::start().await;
    let endpoint = store.sandbox.endpoint(store.address);
    let ran = run(&[
        "check",
        "--listen",
        "127.0.0.1:0",
        "--healthlake-endpoint",
        &endpoint,
        "--region",
        "us-east-1",
    ])
    .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("credentials", "failed", &["no source", "AWS_PROFILE"]);
    let ran = run(&["check", "--listen", "127.0.0.1:0", "--healthlake-endpoint", &endpoint]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("region", "failed", &["--region"]);
}

#[tokio::test]
async fn a_role_that_does_not_trust_us() {
    let store =
        Store::of(Sandbox::new(Config { external_id: Some("expected".into()), ..Config::default() })).await;
    let ran = store.check(&["--role-arn", ROLE]).await;
    ran.row("credentials", "failed", &["AccessDenied", "trust policy", "--role-external-id"]);
    let ran = store.check(&["--role-arn", ROLE, "--role-external-id", "expected"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn settings_with_traps_are_warned_of() {
    let store = Store::start().await;
    let arguments = [
        "--deadline",
        "10s",
        "--keep-alive",
        "30s",
        "--healthlake-validation-level",
        "strict",
        "--validation",
        "off",
        "--drain-timeout",
        "1s",
    ];
    let ran = store.check(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("--deadline", "warning", &["HAPI", "10s"]);
    ran.row("--keep-alive", "warning", &["60s", "ALB"]);
    ran.row("HealthLake validation", "ok", &["meta.profile", "structure-only"]);
    ran.row("--drain-timeout", "warning", &["--deadline"]);
    ran.row("--validation", "ok", &["off"]);
    ran.row("who may call", "ok", &["anyone on this machine"]);
    assert!(ran.out.ends_with("Nothing failed, 3 warnings.\n"), "{}", ran.out);
}

#[tokio::test]
async fn open_addresses_are_warned_of() {
    let open = [
        "check",
        "--sandbox",
        "--sandbox-listen",
        "127.0.0.1:0",
        "--listen",
        "0.0.0.0:0",
        "--allow-anonymous",
    ];
    let ran = run_with(&open, &[("LAKEHOOK_DEADLIN", "8s")]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("TLS", "warning", &["--tls-cert"]);
    ran.row("who may call", "warning", &["--allow-anonymous"]);
    ran.row("settings", "warning", &["LAKEHOOK_DEADLIN"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let ran = run(&[&["check", "--listen", &taken][..], &SANDBOX].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn wrong_settings_are_exit_2_with_nothing_on_stdout() {
    let ran = run(&["check"]).await;
    ran.refused(&["--healthlake-endpoint"]);
    assert_eq!(ran.out, "");
    let directory = directory();
    let file = super::file(&directory, "subscription.json", "{}");
    let sandboxed = [&["check"][..], &SANDBOX, &["--subscription"]].concat();
    run(&[&sandboxed[..], &["/nonexistent.json"]].concat())
        .await
        .refused(&["--subscription", "/nonexistent.json"]);
    run(&[&sandboxed[..], &[file.to_str().unwrap()]].concat())
        .await
        .refused(&["--subscription", "resourceType"]);
}
