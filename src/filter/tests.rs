#![allow(clippy::unwrap_used)]

use super::*;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

fn labels(texts: &[&str]) -> Vec<Label> {
    texts.iter().map(|text| Label::parse(text).unwrap()).collect()
}

fn denying(texts: &[&str]) -> Filter {
    Filter { deny_labels: labels(texts), ..Filter::default() }
}

fn patient(security: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"a","meta":{{"versionId":"3","security":{security}}}}}"#)
}

fn rule(filter: &Filter, json: &str) -> Option<Rule> {
    match filter.judge(&Addressed::to(&Key::new("Patient", "a").unwrap()), json.as_bytes()) {
        Judged::Passes => None,
        Judged::Filtered { rule, key, version } => {
            assert_eq!(key.to_string(), "Patient/a");
            assert_eq!(version, Version::new(Some("3"), None));
            Some(rule)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_label_is_matched_as_a_token_search_does() {
    let restricted =
        patient(&format!(r#"[{{"system":"x","code":"N"}},{{"system":"{CONFIDENTIALITY}","code":"R"}}]"#));
    let bare = patient(r#"[{"code":"R"}]"#);
    let with_system = format!("{CONFIDENTIALITY}|R");
    for (label, of_system, of_none) in [
        (with_system.as_str(), true, false),
        ("R", true, true),
        ("|R", false, true),
        ("x|R", false, false),
        ("x|", true, false),
        ("V", false, false),
        ("r", false, false),
    ] {
        let filter = denying(&[label]);
        assert_eq!(rule(&filter, &restricted).is_some(), of_system, "{label}");
        assert_eq!(rule(&filter, &bare).is_some(), of_none, "{label}");
    }
    for nonsense in ["", "|", "a|b|c", "  "] {
        assert!(Label::parse(nonsense).is_err(), "{nonsense:?}");
    }
    for text in ["R", "|R", "x|", "x|R"] {
        assert_eq!(Label::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn what_denies_wins_and_what_is_needed_must_be_there() {
    let both = Filter { labels: labels(&["N"]), deny_labels: labels(&["R"]), ..Filter::default() };
    assert_eq!(rule(&both, &patient(r#"[{"code":"N"}]"#)), None);
    assert_eq!(rule(&both, &patient(r#"[{"code":"N"},{"code":"R"}]"#)), Some(Rule::DenySecurityLabels));
    assert_eq!(rule(&both, &patient("[]")), Some(Rule::SecurityLabels));
    let none = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"3"}}"#;
    assert_eq!(rule(&both, none), Some(Rule::SecurityLabels));
    assert_eq!(rule(&denying(&["R"]), none), None);
}

#[test]
fn types_are_allowed_or_denied() {
    let filter = |types: &[&str], deny: &[&str]| Filter {
        types: types.iter().map(|name| (*name).to_owned()).collect(),
        deny_types: deny.iter().map(|name| (*name).to_owned()).collect(),
        ..Filter::default()
    };
    assert_eq!(filter(&[], &[]).by_type("Patient"), None);
    assert_eq!(filter(&["Patient"], &[]).by_type("Patient"), None);
    assert_eq!(filter(&["Patient"], &[]).by_type("Basic"), Some(Rule::Types));
    assert_eq!(filter(&[], &["Basic"]).by_type("Basic"), Some(Rule::DenyTypes));
    assert_eq!(filter(&["Basic"], &["Basic"]).by_type("Basic"), Some(Rule::DenyTypes));
    // Posted to the base: the body alone says what it is.
    let posted = filter(&[], &["Patient"]).judge(&Addressed::default(), patient("[]").as_bytes());
    assert!(matches!(posted, Judged::Filtered { rule: Rule::DenyTypes, .. }), "{posted:?}");
}

#[test]
fn nothing_gets_through_by_being_malformed() {
    let filter = denying(&["R"]);
    let at = Addressed::to(&Key::new("Patient", "a").unwrap());
    let unreadable = Judged::Unreadable(Some(Rule::DenySecurityLabels));
    for json in [
        patient(r#"{"code":"R"}"#),
        patient(r#"[null]"#),
        patient(r#"["R"]"#),
        patient(r#"[{"code":["R"]}]"#),
        patient(r#"[{"code":"N","code":"R"}]"#),
        r#"{"resourceType":"Patient","id":"a","meta":{"security":[{"code":"R"}]},"meta":{}}"#.to_owned(),
        r#"{"resourceType":"Patient","id":"b","meta":{"security":[{"code":"R"}]}}"#.to_owned(),
        r#"{"resourceType":"Basic","id":"a"}"#.to_owned(),
        "no JSON".to_owned(),
    ] {
        assert_eq!(filter.judge(&at, json.as_bytes()), unreadable, "{json}");
        assert!(filter.keeps_out(json.as_bytes()).is_some() || json.contains("Basic"), "{json}");
    }
    // Escapes are read as what they stand for.
    assert_eq!(rule(&filter, &patient(r#"[{"code":"\u0052"}]"#)), Some(Rule::DenySecurityLabels));
    // A type that the URL names is enough.
    let types = Filter { deny_types: vec!["Patient".into()], ..Filter::default() };
    assert!(matches!(types.judge(&at, b"no JSON"), Judged::Filtered { rule: Rule::DenyTypes, .. }));
}

#[test]
fn a_raw_binary_tells_no_labels() {
    let filter = denying(&["R"]);
    let raw = r#"{"resourceType":"Binary","id":"a","contentType":"application/pdf","data":""}"#;
    let judged = filter.judge(&Addressed::default(), raw.as_bytes());
    assert!(matches!(judged, Judged::Unlabelled { rule: Rule::DenySecurityLabels, .. }), "{judged:?}");
    let versioned = r#"{"resourceType":"Binary","id":"a","meta":{"versionId":"2"},"contentType":"application/pdf","data":""}"#;
    assert!(matches!(filter.judge(&Addressed::default(), versioned.as_bytes()), Judged::Unlabelled { .. }));
    // The CDR's own JSON tells all that there is to tell.
    assert_eq!(filter.keeps_out(raw.as_bytes()), None);
    let labelled =
        r#"{"resourceType":"Binary","id":"a","meta":{"security":[{"code":"R"}]},"contentType":"x"}"#;
    assert_eq!(filter.keeps_out(labelled.as_bytes()), Some(Rule::DenySecurityLabels));
    let types = Filter { deny_types: vec!["Basic".into()], ..Filter::default() };
    assert_eq!(types.judge(&Addressed::default(), raw.as_bytes()), Judged::Passes);
}
