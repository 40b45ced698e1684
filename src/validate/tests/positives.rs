//! What must not be refused, and the facts it gives.

use super::strict;
use std::collections::HashSet;

use crate::validate::check::check;
use crate::validate::table::{Field, Kind, Table};
use crate::validate::{Facts, Mode, Refusal, Validator, model};

#[test]
fn facts() {
    let facts = strict(
        r#"{"meta":{"lastUpdated":"2024-01-01T00:00:00.123Z","versionId":"7"},"contained":[{"resourceType":"Patient","id":"inner","meta":{"versionId":"9"}}],"id":"\u0070-1","resourceType":"Patient"}"#,
    );
    assert_eq!(
        facts.unwrap(),
        Facts {
            resource_type: "Patient".into(),
            id: Some("p-1".into()),
            version_id: Some("7".into()),
            last_updated: Some("2024-01-01T00:00:00.123Z".into()),
        }
    );
    let facts = strict(r#"{"resourceType":"Patient"}"#).unwrap();
    assert_eq!((facts.id, facts.version_id, facts.last_updated), (None, None, None));
}

#[test]
fn odd_but_valid() {
    for json in [
        "\r\n\t {\"resourceType\" : \"Patient\" , \"active\" : true } \n",
        r#"{"active":true,"name":[{"given":["a"],"family":"b"}],"resourceType":"Patient"}"#,
        r#"{"\u0072esourceType":"P\u0061tient","\u0061ctive":true,"_birth\u0044ate":{"id":"x"}}"#,
        r#"{"resourceType":"Patient","gender":"no such code","name":[{"use":"nor this"}]}"#,
        r#"{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"extension":[{"url":"u","valueCode":"c"}]}]}]}"#,
        r#"{"resourceType":"Patient","name":[{"_given":[{"id":"x"}]}]}"#,
        r#"{"resourceType":"Patient","name":[{"_given":[null,{"id":"x"}],"given":["a",null]}]}"#,
        r#"{"resourceType":"Patient","_deceasedBoolean":{"extension":[{"url":"u","valueCode":"c"}]}}"#,
        r#"{"resourceType":"Patient","deceasedBoolean":true,"_deceasedBoolean":{"id":"x"}}"#,
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"x"}],"name":[{"family":"after contained"}]}"#,
        r#"{"resourceType":"Patient","extension":[{"url":"http://x","extension":[{"url":"y","valueDecimal":1.50}]}]}"#,
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1E-30,"unit":"x"}}"#,
        r#"{"resourceType":"MolecularSequence","coordinateSystem":0,"quality":[{"type":"snp","truthTP":0.5,"roc":{"sensitivity":[0.10,null,1],"_sensitivity":[null,{"id":"x"},null],"fMeasure":[1e-3]}}]}"#,
        r#"{"resourceType":"Observation","_status":{"extension":[{"url":"u","valueCode":"c"}]},"code":{"text":"x"}}"#,
        r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Observation","contained":[{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.0}}],"status":"final","code":{"text":"x"},"valueQuantity":{"value":2.0}},"fullUrl":"urn:x"}]},"fullUrl":"urn:x"}],"total":1}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Parameters"}},{"name":"b","valueDecimal":1.0}]}"#,
        r#"{"resourceType":"Patient","name":[{"text":"😀 é \u00e9 \ud83d\ude00 \/"}]}"#,
        r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div>x<\/div>"}}"#,
    ] {
        let answer = strict(json);
        assert!(answer.is_ok(), "{json}: {answer:?}");
    }
}

#[test]
fn large_resources_and_long_arrays_pass() {
    let names = vec![r#"{"family":"x","given":["a","b"],"_given":[null,{"id":"c"}]}"#; 80_000].join(",");
    let json = format!(r#"{{"resourceType":"Patient","name":[{names}]}}"#);
    assert!(json.len() > 4_500_000 && strict(&json).is_ok());
    let given = vec![r#""a",null"#; 100_000].join(",");
    let siblings = vec![r#"null,{"id":"x"}"#; 100_000].join(",");
    let json =
        format!(r#"{{"resourceType":"Patient","name":[{{"given":[{given}],"_given":[{siblings}]}}]}}"#);
    assert!(strict(&json).is_ok());
    let data = "A".repeat(5_000_000);
    assert!(strict(&format!(r#"{{"resourceType":"Binary","contentType":"x/y","data":"{data}"}}"#)).is_ok());
}

/// fhirbolt recurses, and an overflow of its stack would take the process with it. Whatever type it recurses
/// through, the deepest that is let through has to come back, and what is just beyond as well.
#[test]
fn every_recursion_of_the_model_comes_back() {
    let table = Table::r4();
    let validator = Validator::new(Mode::Structure, 64);
    let wrap = |inner: &str, field: &Field| match field.many {
        true => format!("{{\"{}\":[{inner}]}}", field.name),
        false => format!("{{\"{}\":{inner}}}", field.name),
    };
    let mut recursions = HashSet::new();
    for name in lakehook_fhirbolt_r4::RESOURCE_TYPES {
        for first in &table.get(table.resource(name.as_bytes()).unwrap()).fields {
            let Kind::Complex(id) = first.kind else { continue };
            let again = table.get(id).fields.iter().find(|field| field.kind == first.kind);
            let Some(again) = again.filter(|again| recursions.insert((id, again.name))) else { continue };
            for levels in [14, 15, 61, 62, 63] {
                let mut json = r#"{"id":"deepest"}"#.to_owned();
                for _ in 0..levels {
                    json = wrap(&json, again);
                }
                let json = wrap(&json, first).replacen('{', &format!(r#"{{"resourceType":"{name}","#), 1);
                // Required elements are missing here and there: fhirbolt has to be asked all the same.
                let findings = check(json.as_bytes(), false, 64);
                assert_eq!(findings.faults.iter().any(|fault| fault.code == "too-costly"), levels == 63);
                let judged = model::judge(json.as_bytes(), &findings);
                assert!(!judged.is_err_and(|fault| fault.code == "too-costly"), "{name}.{}", first.name);
                let _ = validator.json(json.as_bytes());
            }
        }
    }
    assert!(recursions.len() > 10, "{}", recursions.len());
}

#[test]
fn structure_leaves_grammars_alone_and_off_nearly_everything() {
    fn json(text: &str, mode: Mode) -> Result<Facts<'_>, Refusal> {
        Validator::new(mode, 64).json(text.as_bytes())
    }
    let dates = r#"{"resourceType":"Patient","id":"a b","birthDate":"yesterday","gender":"","text":{"status":"x","div":"<script/>"}}"#;
    assert!(json(dates, Mode::Strict).is_err());
    assert_eq!(json(dates, Mode::Structure).unwrap().id.as_deref(), Some("a b"));
    let unknown = r#"{"resourceType":"Patient","foo":[{},[],null],"active":"yes","meta":{"versionId":"3"}}"#;
    assert!(json(unknown, Mode::Structure).is_err());
    assert_eq!(json(unknown, Mode::Off).unwrap().version_id.as_deref(), Some("3"));
    let tomorrow = r#"{"resourceType":"Tomorrow","id":"x"}"#;
    assert!(json(tomorrow, Mode::Structure).is_err());
    assert_eq!(json(tomorrow, Mode::Off).unwrap().resource_type, "Tomorrow");
    for wrong in [
        r#"{"resourceType":"Patient"}x"#,
        r#"{"resourceType":"Patient","id":"a","id":"b"}"#,
        r#"{"resourceType":"Patient","id":"a","\u0069d":"b"}"#,
        r#"{"resourceType":"Patient","meta":{"versionId":"1","versionId":"2"}}"#,
        r#"{"resourceType":5}"#,
        r#"{"id":"a"}"#,
        r#"[{"resourceType":"Patient"}]"#,
        r#"{"resourceType":"Patient","x":01}"#,
        "\u{FEFF}{\"resourceType\":\"Patient\"}",
    ] {
        assert!(json(wrong, Mode::Off).is_err(), "{wrong}");
    }
    let deep = format!(r#"{{"resourceType":"Patient","x":{}"#, "[".repeat(1_000_000));
    assert_eq!(json(&deep, Mode::Off).unwrap_err().issues[0].code, "too-costly");
}
