use serde_json::{Value, json};

use super::{TOKEN, fresh, server, wish};
use crate::cdr::subscription::compare::{Change, lay_over};
use crate::cdr::subscription::extensions::*;
use crate::cdr::subscription::shape;

/// What HAPI has after it stored ours, changed so.
fn changes(change: impl FnOnce(&mut Value)) -> (Value, Vec<Change>) {
    let hapi = server("HAPI FHIR Server", "8.8.0");
    let mut present = fresh(&wish("[*]"), &hapi).remove(0);
    present["status"] = json!("active");
    present["meta"]["versionId"] = json!("7");
    present["meta"]["lastUpdated"] = json!("2026-11-24T10:00:00Z");
    present["meta"]["tag"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "system": "http://hapifhir.io/x", "code": "IN_MEMORY" }));
    change(&mut present);
    let wanted = shape::wanted(&wish("[*]"), &hapi).unwrap().remove(0);
    let (result, changes) = lay_over(&wanted, Some(&present));
    let shown = format!("{changes:?}");
    assert!(!shown.contains(TOKEN) && !shown.contains("hidden"), "{shown}");
    // What it was made into needs nothing more.
    assert_eq!(lay_over(&wanted, Some(&result)).1, [], "{result}");
    (result, changes)
}

fn one(change: impl FnOnce(&mut Value), what: &str, from: Option<&str>, to: Option<&str>) -> Value {
    let (result, changes) = changes(change);
    let own = |text: Option<&str>| text.map(str::to_owned);
    assert_eq!(changes, [Change { what: what.into(), from: own(from), to: own(to) }]);
    result
}

#[test]
fn ours_as_the_cdr_shows_it_needs_nothing() {
    let (_, none) = changes(|_| {});
    assert_eq!(none, []);
    let (_, none) = changes(|present| present["status"] = json!("requested"));
    assert_eq!(none, []);
}

#[test]
fn each_drift_is_told_and_mended() {
    one(|s| s["criteria"] = json!("[Patient]"), "criteria", Some("[Patient]"), Some("[*]"));
    one(|s| s["status"] = json!("off"), "status", Some("off"), Some("requested"));
    let result = one(
        |s| {
            s["status"] = json!("error");
            s["error"] = json!("it failed");
        },
        "status",
        Some("error"),
        Some("requested"),
    );
    assert!(result.get("error").is_none());
    one(
        |s| s["channel"]["endpoint"] = json!("https://user:hidden@old.example.org/fhir?token=hidden"),
        "channel.endpoint",
        Some("https://old.example.org/fhir?****"),
        Some("https://lakehook.example.org/fhir"),
    );
    one(
        |s| {
            s["channel"].as_object_mut().unwrap().remove("payload");
        },
        "channel.payload",
        None,
        Some("application/fhir+json"),
    );
    one(|s| s["channel"]["type"] = json!("email"), "channel.type", Some("email"), Some("rest-hook"));
    one(
        |s| s["channel"]["extension"] = json!([]),
        "channel.extension send-delete-messages",
        None,
        Some("true"),
    );
    one(
        |s| s["channel"]["extension"][0]["valueBoolean"] = json!(false),
        "channel.extension send-delete-messages",
        Some("false"),
        Some("true"),
    );
    let latest = json!({ "url": DELIVER_LATEST, "valueBoolean": true });
    one(
        |s| s["channel"]["extension"].as_array_mut().unwrap().push(latest),
        "channel.extension deliver-latest-version",
        Some("true"),
        None,
    );
    one(
        |s| s["extension"] = json!([{ "url": PAYLOAD_SEARCH, "valueString": "Patient?" }]),
        "extension payload-search-criteria",
        Some("Patient?"),
        None,
    );
}

#[test]
fn a_token_is_compared_and_never_shown() {
    let masked = "Authorization: Bearer ****";
    one(
        |s| s["channel"]["header"] = json!(["authorization: Bearer hidden"]),
        "channel.header",
        Some("authorization: Bearer ****"),
        Some(masked),
    );
    one(
        |s| s["channel"]["header"] = json!(["Authorization: Bearer hidden"]),
        "channel.header",
        Some(masked),
        Some("Authorization: Bearer **** (another secret)"),
    );
    one(
        |s| {
            s["channel"].as_object_mut().unwrap().remove("header");
        },
        "channel.header",
        None,
        Some(masked),
    );
}

#[test]
fn what_is_not_ours_to_say_stays() {
    let (result, _) = changes(|s| {
        s["criteria"] = json!("[Patient]");
        s["reason"] = json!("because");
        s["end"] = json!("2030-01-01T00:00:00Z");
        s["contact"] = json!([{ "system": "email" }]);
        s["channel"]["header"] = json!([format!("Authorization: Bearer {TOKEN}"), "X-Site: 7"]);
        s["channel"]["extension"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "url": "http://e.org/own", "valueCode": "a" }));
    });
    assert_eq!((&result["reason"], &result["end"]), (&json!("because"), &json!("2030-01-01T00:00:00Z")));
    assert_eq!(result["contact"], json!([{ "system": "email" }]));
    assert_eq!(result["channel"]["header"][1], "X-Site: 7");
    assert!(find(&result["channel"], "http://e.org/own").is_some());
    assert_eq!(result["meta"]["tag"].as_array().unwrap().len(), 2);
    assert!(result["meta"].get("versionId").is_none(), "{result}");
    // Without a token of ours that of the Subscription is none of our business.
    let mut without = wish("[*]");
    without.authorization = None;
    let wanted = shape::wanted(&without, &server("HAPI FHIR Server", "8.8.0")).unwrap().remove(0);
    assert_eq!(lay_over(&wanted, Some(&result)).1, []);
}

#[test]
fn taking_over_adds_the_mark() {
    one(
        |s| {
            s.as_object_mut().unwrap().remove("meta");
        },
        "meta.tag",
        None,
        Some("urn:lakehook:subscription|lakehook"),
    );
}

#[test]
fn medplum_s_secret_is_never_shown_either() {
    let medplum = server("medplum", "4");
    let mut asked = wish("[Patient]");
    asked.hmac_secret = Some(TOKEN.into());
    let wanted = shape::wanted(&asked, &medplum).unwrap().remove(0);
    let mut present = lay_over(&wanted, None).0;
    let secret = present["extension"].as_array_mut().unwrap().last_mut().unwrap();
    secret["valueString"] = json!("hidden");
    for present in [None, Some(&present)] {
        let shown = format!("{:?}", lay_over(&wanted, present).1);
        assert!(shown.contains("extension secret") && shown.contains("****"), "{shown}");
        assert!(!shown.contains(TOKEN) && !shown.contains("hidden"), "{shown}");
    }
}
