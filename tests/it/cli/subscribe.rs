//! `subscribe`: what its settings need, and what is said where the CDR can't do what is asked.

use axum::Router;
use axum::routing::get;
use serde_json::json;

use super::{ANY_PORT, SANDBOX, SECRET, run};

/// A CDR of this software without any Subscription.
async fn cdr(software: &'static str) -> String {
    let statement = json!({
        "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": {"name": software, "version": "8.1"},
    });
    let router = Router::new().route("/fhir/metadata", get(async move || axum::Json(statement)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/fhir")
}

#[tokio::test]
async fn its_settings() {
    let refused = async |arguments: &[&str], says: &[&str]| {
        run(&[&["subscribe", "--token", SECRET][..], arguments].concat()).await.refused(says);
    };
    refused(&[], &["--cdr-url is missing"]).await;
    let cdr = "--cdr-url=https://cdr.example.org/fhir";
    refused(&[cdr, "--listen", "0.0.0.0:8080"], &["--subscription-endpoint is missing", "every address"])
        .await;
    refused(&[cdr, "--listen", "127.0.0.1:0"], &["--subscription-endpoint is missing", "port"]).await;
    refused(&[cdr, "--endpoint", "https://e.org/fhir?token=x"], &["--subscription-endpoint", "has a query"])
        .await;
    refused(&[cdr, "--endpoint", "e.org/fhir"], &["--subscription-endpoint", "is not a URL"]).await;
    refused(
        &[cdr, "--subscription-criteria", "[patient]"],
        &["--subscription-criteria", "[Patient,Observation]"],
    )
    .await;
    refused(&[cdr, "--subscription-payload", "application/pdf"], &["--subscription-payload"]).await;
    refused(&[cdr, "--subscription-id", "a_b"], &["--subscription-id", "A-Z a-z 0-9"]).await;

    let serve = [&["serve", "--manage-subscription"][..], &SANDBOX].concat();
    run(&[&serve[..], &ANY_PORT].concat()).await.refused(&["--manage-subscription", "needs --cdr-url"]);
    let everywhere = ["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0", "--token", SECRET, cdr];
    run(&[&serve[..], &everywhere].concat()).await.refused(&["--subscription-endpoint is missing"]);
}

#[tokio::test]
async fn what_the_cdr_s_kind_needs_is_named() {
    for software in ["medplum", "Microsoft FHIR Server", "Firely Server", "Something"] {
        let url = cdr(software).await;
        let ran = run(&["subscribe", "--dry-run", "--token", SECRET, "--cdr-url", &url]).await;
        ran.refused(&["--subscription-criteria", "[Patient,Observation]"]);
        let types = ["--subscription-criteria", "[Patient]"];
        let ran =
            run(&[&["subscribe", "--dry-run", "--token", SECRET, "--cdr-url", &url][..], &types].concat())
                .await;
        // Nothing is there, and Medplum's is searched for, which this one does not know.
        match software {
            "medplum" => assert_eq!(ran.code, 1, "{ran:?}"),
            _ => assert_eq!(ran.code, 3, "{ran:?}"),
        }
    }
}

#[tokio::test]
async fn traps_of_what_would_be_made_are_told() {
    let url = cdr("HAPI FHIR Server").await;
    let arguments = ["subscribe", "--dry-run", "--cdr-url", &url];
    let ran = run(&[&arguments[..], &["--token", SECRET]].concat()).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("+ channel.endpoint: http://127.0.0.1:8080/fhir\n"), "{ran:?}");
    assert!(!ran.out.contains("  ! "), "{ran:?}");
    let odd = ["--token", SECRET, "--endpoint", "https://e.org/other", "--subscription-latest", "true"];
    let ran = run(&[&arguments[..], &odd].concat()).await;
    for trap in ["! channel.endpoint: ", "! deliver-latest-version: "] {
        assert!(ran.out.contains(trap), "{trap}: {ran:?}");
    }

    let far =
        run(&["subscribe", "--dry-run", "--cdr-url", "http://192.0.2.1:9/fhir", "--token", SECRET]).await;
    assert_eq!(far.code, 1, "{far:?}");
    far.says(&["warning: http://127.0.0.1:8080/fhir is on this machine only", "could not be reached"]);
}
