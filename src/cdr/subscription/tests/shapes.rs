use serde_json::{Value, json};

use super::{TOKEN, fresh, server, statement, wish};
use crate::cdr::subscription::extensions::*;
use crate::cdr::subscription::{Criteria, SMILE_ID, shape};
use crate::cdr::{Capabilities, Server};

fn boolean(url: &str) -> Value {
    json!({ "url": url, "valueBoolean": true })
}

fn refused(wish: &crate::cdr::subscription::Wish, capabilities: &Capabilities) -> String {
    shape::wanted(wish, capabilities).unwrap_err().to_string()
}

#[test]
fn hapi_gets_deletes_on_the_channel_and_no_latest() {
    let all = fresh(&wish("[*]"), &server("HAPI FHIR Server", "8.8.0"));
    assert_eq!(
        all,
        [json!({
            "resourceType": "Subscription", "id": "lakehook", "status": "requested",
            "reason": "Mirror to AWS HealthLake", "criteria": "[*]",
            "meta": { "tag": [{ "system": "urn:lakehook:subscription", "code": "lakehook" }] },
            "channel": {
                "type": "rest-hook", "endpoint": "https://lakehook.example.org/fhir",
                "payload": "application/fhir+json", "header": [format!("Authorization: Bearer {TOKEN}")],
                "extension": [boolean(SEND_DELETES)],
            },
        })]
    );
}

#[test]
fn an_old_hapi_or_one_of_unknown_age_gets_deletes_on_the_root_too() {
    for (version, at_root) in
        [("6.0.1", true), ("5.7.2", true), ("", true), ("7.0.0", false), ("8.8.0", false)]
    {
        let all = fresh(&wish("[*]"), &server("HAPI FHIR Server", version));
        assert_eq!(is_on(&all[0], SEND_DELETES), at_root, "{version}");
        assert!(is_on(&all[0]["channel"], SEND_DELETES), "{version}");
    }
}

#[test]
fn hapi_s_other_wishes() {
    let hapi = server("HAPI FHIR Server", "8.8.0");
    let mut asked = wish("[Patient, Observation]");
    asked.id = Some("mirror".into());
    asked.deliver_latest = Some(true);
    asked.strip_version_ids = true;
    asked.send_deletes = false;
    asked.retry_count = Some(3);
    asked.authorization = None;
    let made = fresh(&asked, &hapi).remove(0);
    assert_eq!((&made["id"], &made["criteria"]), (&json!("mirror"), &json!("[Patient,Observation]")));
    assert!(made["channel"].get("header").is_none());
    let retries = json!({ "url": RETRY_COUNT, "valueInteger": 3 });
    assert_eq!(
        made["channel"]["extension"],
        json!([boolean(DELIVER_LATEST), boolean(STRIP_VERSION_IDS), retries])
    );
    assert_eq!(fresh(&wish("Patient?active=true"), &hapi)[0]["criteria"], "Patient?active=true");
}

#[test]
fn smile_cdr_gets_its_connector_s_id_latest_and_a_bound() {
    let made = fresh(&wish("[*]"), &server("Smile CDR", "2024.05.R01")).remove(0);
    assert_eq!(made["id"], SMILE_ID);
    assert_eq!(
        made["channel"]["extension"],
        json!([
            boolean(SEND_DELETES),
            boolean(DELIVER_LATEST),
            { "url": RETRY_COUNT, "valueInteger": 20 },
        ])
    );
    assert!(!is_on(&made, SEND_DELETES));
    assert!(is_on(&fresh(&wish("[*]"), &server("Smile CDR", "2022.11.R01"))[0], SEND_DELETES));
    let mut without = wish("[*]");
    without.deliver_latest = Some(false);
    let made = fresh(&without, &server("Smile CDR", "2024.05.R01")).remove(0);
    assert!(!is_on(&made["channel"], DELIVER_LATEST));
}

#[test]
fn medplum_gets_two_for_each_type_and_signs() {
    let medplum = server("medplum", "4");
    assert!(refused(&wish("[*]"), &medplum).contains("--subscription-criteria"));
    let mut signed = wish("[Patient,Observation]");
    signed.hmac_secret = Some("shared-secret".into());
    let made = fresh(&signed, &medplum);
    let names: Vec<_> = made.iter().map(|one| one["meta"]["tag"][0]["code"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "lakehook-patient",
            "lakehook-patient-delete",
            "lakehook-observation",
            "lakehook-observation-delete"
        ]
    );
    assert_eq!(
        made[1],
        json!({
            "resourceType": "Subscription", "status": "active", "reason": "Mirror to AWS HealthLake",
            "criteria": "Patient",
            "meta": { "tag": [{ "system": "urn:lakehook:subscription", "code": "lakehook-patient-delete" }] },
            "channel": {
                "type": "rest-hook", "endpoint": "https://lakehook.example.org/fhir",
                "payload": "application/fhir+json",
            },
            "extension": [
                { "url": MEDPLUM_ATTEMPTS, "valueInteger": 18 },
                { "url": MEDPLUM_INTERACTION, "valueCode": "delete" },
                { "url": MEDPLUM_SECRET, "valueString": "shared-secret" },
            ],
        })
    );
    let mut upserts = wish("[Patient]");
    upserts.send_deletes = false;
    let made = fresh(&upserts, &medplum);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["channel"]["header"], json!([format!("Authorization: Bearer {TOKEN}")]));
}

#[test]
fn microsoft_gets_its_topic_with_a_filter_for_each_type() {
    let microsoft = server("Microsoft FHIR Server", "4");
    assert!(refused(&wish("[*]"), &microsoft).contains("--subscription-criteria"));
    let made = fresh(&wish("[Patient,Observation]"), &microsoft);
    assert_eq!(
        (&made[0]["id"], &made[1]["id"]),
        (&json!("lakehook-patient"), &json!("lakehook-observation"))
    );
    // What docs/subscriptions.md shows.
    let page = include_str!("../../../../docs/subscriptions.md");
    let (_, section) = page.split_once("## Microsoft FHIR server").unwrap();
    let (_, block) = section.split_once("```json\n").unwrap();
    let shown: Value = serde_json::from_str(block.split_once("```").unwrap().0).unwrap();
    for name in ["criteria", "_criteria", "status", "end"] {
        assert_eq!(made[0][name], shown[name], "{name}");
    }
    assert_eq!(made[0]["meta"]["profile"], shown["meta"]["profile"]);
    for (name, value) in shown["channel"].as_object().unwrap() {
        assert_eq!(made[0]["channel"][name], *value, "{name}");
    }
}

#[test]
fn firely_and_others_get_what_r4_knows() {
    let made = fresh(&wish("[Patient]"), &server("Firely Server", "6")).remove(0);
    assert_eq!((&made["id"], &made["criteria"]), (&json!("lakehook-patient"), &json!("Patient?")));
    let wanted = shape::wanted(&wish("[Patient]"), &server("Firely Server", "6")).unwrap();
    assert_eq!(wanted[0].path.as_deref(), Some("administration/Subscription/lakehook-patient"));
    assert!(refused(&wish("[*]"), &server("Own", "1")).contains("name them"));
    assert_eq!(
        fresh(&wish("Patient?active=true"), &server("Own", "1"))[0]["criteria"],
        "Patient?active=true"
    );
}

#[test]
fn topics_are_subscribed_to_where_they_are_offered() {
    let offering = |topics: &[&str], instantiates: bool| {
        let mut statement = statement("Own", "1");
        let url = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical";
        let topics: Vec<_> =
            topics.iter().map(|topic| json!({ "url": url, "valueCanonical": topic })).collect();
        statement["rest"][0]["resource"][0]["extension"] = json!(topics);
        if instantiates {
            statement["instantiates"] = json!([
                "http://hl7.org/fhir/uv/subscriptions-backport/CapabilityStatement/backport-subscription-server-r4"
            ]);
        }
        Capabilities::read(&statement).unwrap()
    };
    let made = fresh(&wish("[*]"), &offering(&["http://e.org/all"], false)).remove(0);
    assert_eq!((&made["id"], &made["criteria"]), (&json!("lakehook"), &json!("http://e.org/all")));
    assert!(made.get("_criteria").is_none());
    let content = &made["channel"]["_payload"]["extension"][0]["valueCode"];
    assert_eq!(content, "full-resource");
    let filters = fresh(&wish("[Patient,Group]"), &offering(&["http://e.org/all"], false)).remove(0);
    let filters: Vec<_> = filters["_criteria"]["extension"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["valueString"].clone())
        .collect();
    assert_eq!(filters, ["Patient?", "Group?"]);
    let several = offering(&["http://e.org/a", "http://e.org/b"], false);
    assert!(refused(&wish("[*]"), &several).contains("http://e.org/b"));
    assert!(refused(&wish("[*]"), &offering(&[], true)).contains("--subscription-topic"));
    let mut chosen = wish("[*]");
    chosen.topic = Some("http://e.org/b".into());
    assert_eq!(fresh(&chosen, &several)[0]["criteria"], "http://e.org/b");
    assert_eq!(fresh(&chosen, &server("HAPI FHIR Server", "8.8.0"))[0]["criteria"], "http://e.org/b");
}

#[test]
fn a_setting_beats_the_capability_statement() {
    let mut asked = wish("[*]");
    asked.server = Some(Server::SmileCdr);
    assert_eq!(fresh(&asked, &server("HAPI FHIR Server", "8.8.0"))[0]["id"], SMILE_ID);
}

#[test]
fn criteria_are_read_as_they_are_written() {
    assert_eq!(Criteria::parse(" [*] "), Ok(Criteria::All));
    assert_eq!(
        Criteria::parse("[Patient, Group]"),
        Ok(Criteria::Types(vec!["Patient".into(), "Group".into()]))
    );
    assert_eq!(Criteria::parse("Patient"), Ok(Criteria::Types(vec!["Patient".into()])));
    assert_eq!(Criteria::parse("Patient?a=b"), Ok(Criteria::Search("Patient?a=b".into())));
    for wrong in ["", "*", "[]", "[patient]", "patient?x", "[Patient", "[Patient,]"] {
        assert!(Criteria::parse(wrong).is_err(), "{wrong}");
    }
}
