//! Against a small server that stores Subscriptions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{server, statement, wish};
use crate::cdr::subscription::{Action, Seen, TAG_SYSTEM, apply, remove, seen, steps};
use crate::cdr::tests::cdr;
use crate::cdr::tests::server::{Asked, Stand, json as answer, status};
use crate::cdr::{Authorization, Capabilities};

type Stored = Arc<Mutex<BTreeMap<String, Value>>>;

/// Versions are counted; ids of POSTs are `made-N`; `_tag` is not known, as of a simple server.
async fn store() -> (Stored, Stand) {
    let stored = Stored::default();
    let kept = stored.clone();
    let stand = Stand::start(move |asked: &Asked, before| {
        let mut stored = kept.lock().unwrap();
        let path = asked.target.trim_start_matches("/fhir/").to_owned();
        let body = || serde_json::from_slice::<Value>(&asked.body).unwrap();
        match asked.method.as_str() {
            "GET" if path.starts_with("Subscription?") => {
                let all: Vec<_> = stored.values().map(|one| json!({ "resource": one })).collect();
                answer(200, &json!({ "resourceType": "Bundle", "entry": all }))
            }
            "GET" => stored.get(&path).map_or_else(|| status(404), |one| answer(200, one)),
            "DELETE" => status(if stored.remove(&path).is_some() { 204 } else { 404 }),
            method => {
                let mut one = body();
                let path = if method == "POST" { format!("{path}/made-{before}") } else { path };
                let version =
                    stored.get(&path).and_then(|one| one["meta"]["versionId"].as_str()?.parse().ok());
                let version: u32 = version.unwrap_or(0);
                let expected = asked.header("if-match");
                if !expected.is_empty() && expected != format!("W/\"{version}\"") {
                    return status(412);
                }
                one["id"] = path.rsplit('/').next().unwrap().into();
                one["meta"]["versionId"] = (version + 1).to_string().into();
                stored.insert(path, one.clone());
                answer(201, &one)
            }
        }
    })
    .await;
    (stored, stand)
}

fn hapi() -> Capabilities {
    server("HAPI FHIR Server", "8.8.0")
}

fn writes(stand: &Stand) -> usize {
    stand.asked().iter().filter(|asked| asked.method != "GET").count()
}

#[tokio::test]
async fn made_once_mended_where_it_drifted_and_removed() {
    let (stored, stand) = store().await;
    let cdr = cdr(&stand, Authorization::None);
    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    assert_eq!((step.action(false), step.name().as_str()), (Action::Create, "Subscription/lakehook"));
    assert_eq!(apply(&cdr, &step).await.unwrap(), "Subscription/lakehook");

    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    assert_eq!((step.action(false), writes(&stand)), (Action::Nothing, 1));

    stored.lock().unwrap().get_mut("Subscription/lakehook").unwrap()["criteria"] = json!("[Patient]");
    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    assert_eq!(step.action(false), Action::Update);
    apply(&cdr, &step).await.unwrap();
    assert_eq!(stored.lock().unwrap()["Subscription/lakehook"]["criteria"], "[*]");

    // Changed by somebody else between the look and the write.
    stored.lock().unwrap().get_mut("Subscription/lakehook").unwrap()["criteria"] = json!("[Group]");
    let late = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    apply(&cdr, &late).await.unwrap();
    let error = apply(&cdr, &late).await.unwrap_err().to_string();
    assert!(error.contains("412") && error.contains("do it again"), "{error}");

    assert_eq!(seen(&cdr, "Subscription/lakehook").await.unwrap(), Seen::Requested);
    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    remove(&cdr, &step).await.unwrap();
    remove(&cdr, &step).await.unwrap();
    assert_eq!(seen(&cdr, "Subscription/lakehook").await.unwrap(), Seen::Gone);
}

#[tokio::test]
async fn somebody_else_s_is_foreign_until_told() {
    let (stored, stand) = store().await;
    let theirs = json!({ "resourceType": "Subscription", "id": "lakehook", "status": "active" });
    stored.lock().unwrap().insert("Subscription/lakehook".into(), theirs);
    let cdr = cdr(&stand, Authorization::None);
    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    assert_eq!((step.action(false), step.action(true)), (Action::Foreign, Action::Update));
    apply(&cdr, &step).await.unwrap();
    let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
    assert_eq!(step.action(false), Action::Nothing, "it is lakehook's now");
}

#[tokio::test]
async fn where_the_server_chooses_ids_the_mark_finds_them() {
    let (stored, stand) = store().await;
    let cdr = cdr(&stand, Authorization::None);
    let medplum = Capabilities::read(&statement("medplum", "4")).unwrap();
    let mut paths = Vec::new();
    for step in steps(&cdr, &wish("[Patient]"), &medplum).await.unwrap() {
        assert_eq!(step.action(false), Action::Create);
        paths.push(apply(&cdr, &step).await.unwrap());
    }
    assert_eq!(paths.len(), 2);
    assert!(paths.iter().all(|path| stored.lock().unwrap().contains_key(path)), "{paths:?}");
    let query = &stand.asked()[0].target;
    assert_eq!(*query, format!("/fhir/Subscription?_tag={TAG_SYSTEM}|lakehook-patient"));
    let again = steps(&cdr, &wish("[Patient]"), &medplum).await.unwrap();
    for (step, path) in again.iter().zip(&paths) {
        assert_eq!((step.action(false), &step.name()), (Action::Nothing, path));
    }
    remove(&cdr, &again[1]).await.unwrap();
    assert_eq!(stored.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_the_cdr_refuses_is_said_with_what_to_do() {
    for (code, advice) in [(403, "--cdr-oauth-scope"), (422, "refuses such"), (404, "take Subscriptions")] {
        let stand =
            Stand::start(move |asked, _| status(if asked.method == "GET" { 404 } else { code })).await;
        let cdr = cdr(&stand, Authorization::None);
        let step = steps(&cdr, &wish("[*]"), &hapi()).await.unwrap().remove(0);
        let error = apply(&cdr, &step).await.unwrap_err().to_string();
        assert!(error.starts_with("Subscription/lakehook: the CDR answered"), "{error}");
        assert!(error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn each_status_is_told_apart() {
    for (text, expected) in [
        ("active", Seen::Active),
        ("requested", Seen::Requested),
        ("off", Seen::Off),
        ("error", Seen::Error(Some("why".into()))),
        ("entered-in-error", Seen::Other),
    ] {
        let found = json!({ "resourceType": "Subscription", "status": text, "error": "why" });
        let stand = Stand::start(move |_, _| answer(200, &found)).await;
        assert_eq!(seen(&cdr(&stand, Authorization::None), "Subscription/a").await.unwrap(), expected);
    }
}
