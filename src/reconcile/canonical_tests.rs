#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn of(json: &str) -> Digest {
    digest(json.as_bytes(), Decimals::Digits).unwrap()
}

fn loosely(json: &str) -> Digest {
    digest(json.as_bytes(), Decimals::Value).unwrap()
}

#[test]
fn what_every_server_sets_itself_does_not_count() {
    let plain = of(r#"{"resourceType":"Patient","id":"a","active":true}"#);
    for same in [
        r#"{"id":"a","resourceType":"Patient","active":true}"#,
        "{ \"id\": \"a\",\n\t\"active\": true, \"resourceType\": \"Patient\" }",
        r#"{"resourceType":"Patient","id":"a","active":true,"meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z"}}"#,
        r##"{"resourceType":"Patient","id":"a","active":true,"meta":{"source":"#a8Bn2","tag":[{"code":"SUBSETTED"}]}}"##,
        r#"{"resourceType":"Patient","id":"a","active":true,"extension":[{"url":"http://healthlake.amazonaws.com/fhir/StructureDefinition/validation-issue","valueString":"x"}]}"#,
        r#"{"resourceType":"P\u0061tient","id":"a","active":true}"#,
    ] {
        assert_eq!(of(same), plain, "{same}");
    }
    for other in [
        r#"{"resourceType":"Patient","id":"a","active":false}"#,
        r#"{"resourceType":"Patient","id":"b","active":true}"#,
        r#"{"resourceType":"Patient","id":"a","active":"true"}"#,
        r#"{"resourceType":"Patient","id":"a"}"#,
        r#"{"resourceType":"Patient","id":"a","active":true,"meta":{"tag":[{"code":"x"}]}}"#,
        r#"{"resourceType":"Patient","id":"a","active":true,"meta":{"source":"http://lab#1"}}"#,
        r#"{"resourceType":"Patient","id":"a","active":true,"extension":[{"url":"http://example.org","valueString":"x"}]}"#,
        r#"{"resourceType":"Patient","id":"a","active":true,"contained":[{"resourceType":"Patient","meta":{"versionId":"1"}}]}"#,
    ] {
        assert_ne!(of(other), plain, "{other}");
    }
}

#[test]
fn a_narrative_s_white_space_does_not_count_and_its_words_do() {
    let div =
        |div: &str| format!(r#"{{"resourceType":"Patient","text":{{"status":"generated","div":"{div}"}}}}"#);
    assert_eq!(of(&div("<div>a\\n  b</div>")), of(&div("<div>a b</div>")));
    assert_ne!(of(&div("<div>ab</div>")), of(&div("<div>a b</div>")));
    // Elsewhere it does.
    assert_ne!(of(r#"{"title":"a  b"}"#), of(r#"{"title":"a b"}"#));
}

#[test]
fn a_decimal_counts_with_its_digits() {
    let value = |number: &str| format!(r#"{{"value":{number}}}"#);
    for (a, b) in [("1.50", "15.0e-1"), ("1.50", "150E-2"), ("100", "100"), ("1e+2", "1E2"), ("-0.0", "0.0")]
    {
        assert_eq!(of(&value(a)), of(&value(b)), "{a} {b}");
    }
    for (a, b) in [("1.50", "1.5"), ("1.0", "1"), ("100", "1e2"), ("0.0", "0"), ("-1", "1")] {
        assert_ne!(of(&value(a)), of(&value(b)), "{a} {b}");
    }
    for (a, b) in [("1.50", "1.5"), ("1.0", "1"), ("100", "1e2"), ("0.00", "0"), ("-2.50", "-25e-1")] {
        assert_eq!(loosely(&value(a)), loosely(&value(b)), "{a} {b}");
    }
    assert_ne!(loosely(&value("-1")), loosely(&value("1")));
    assert_ne!(of(&value("1")), of(&value("\"1\"")));
}

#[test]
fn only_an_object_is_a_resource() {
    for json in ["", "[]", "\"x\"", "{", "null", "{\"a\":}"] {
        assert_eq!(digest(json.as_bytes(), Decimals::Digits), Err(NotAResource), "{json}");
    }
}

/// JSON as a FHIR server could send it.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z0-9 é\"\\\\]{0,12}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]{1,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-d]{1,3}", value, 1..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// The same with the members of every object the other way round and blanks between tokens.
fn respelt(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(name, value)| format!("{} :\n{}", Value::from(name.as_str()), respelt(value)))
                .collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(items) => {
            format!("[\t{}]", items.iter().map(respelt).collect::<Vec<_>>().join(" ,"))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #[test]
    fn spelling_does_not_count(value in json()) {
        prop_assert_eq!(of(&value.to_string()), of(&respelt(&value)));
    }

    #[test]
    fn two_resources_share_a_digest_only_if_they_are_equal(a in json(), b in json()) {
        prop_assert_eq!(a == b, of(&a.to_string()) == of(&b.to_string()));
    }

    #[test]
    fn a_change_anywhere_is_seen(value in json(), pick in any::<prop::sample::Index>()) {
        fn leaves(value: &Value) -> usize {
            match value {
                Value::Object(members) => members.values().map(leaves).sum(),
                Value::Array(items) => items.iter().map(leaves).sum(),
                _ => 1,
            }
        }
        fn change(value: &mut Value, left: &mut usize) {
            match value {
                Value::Object(members) => members.values_mut().for_each(|value| change(value, left)),
                Value::Array(items) => items.iter_mut().for_each(|item| change(item, left)),
                leaf => {
                    if *left == 0 {
                        *leaf = Value::from("something that no leaf is");
                    }
                    *left = left.wrapping_sub(1);
                }
            }
        }
        let count = leaves(&value);
        prop_assume!(count > 0);
        let mut changed = value.clone();
        change(&mut changed, &mut pick.index(count));
        prop_assert_ne!(of(&value.to_string()), of(&changed.to_string()));
    }
}
