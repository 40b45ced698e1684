//! The stage in which fhirbolt decides: it sees what the one pass lets through, and its own words find their place.

use lakehook_fhirbolt_r4::RESOURCE_TYPES;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{Dice, resource};
use crate::validate::check::check;
use crate::validate::{Issue, Mode, Validator, model};

/// What only fhirbolt refuses: with grammars left alone, a whole number is its business.
fn refused_by_fhirbolt(json: &str) -> Issue {
    let refusal = Validator::new(Mode::Structure, 64).json(json.as_bytes()).unwrap_err();
    assert_eq!(refusal.issues.len(), 1, "{refusal:?}");
    refusal.issues.into_iter().next().unwrap()
}

#[test]
fn its_errors_have_a_place() {
    for (json, path, line) in [
        ("{\"resourceType\":\"Patient\",\n\"multipleBirthInteger\":1.5}", "Patient.multipleBirth", 2),
        // Behind quoted decimals, in a copy.
        (
            "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"x\"},\"valueQuantity\":{\"value\":1.25},\n\"component\":[{\"code\":{\"text\":\"x\"},\"valueQuantity\":{\"value\":1}},{\"code\":{\"text\":\"x\"},\"valueInteger\":1.5}]}",
            "Observation.component[1].value",
            2,
        ),
        // In a nested resource, and behind one.
        (
            "{\"resourceType\":\"Patient\",\"contained\":[{\"resourceType\":\"Patient\",\n\"multipleBirthInteger\":1.5}]}",
            "Patient.contained[0].multipleBirth",
            2,
        ),
        (
            "{\"resourceType\":\"Patient\",\"contained\":[{\"resourceType\":\"Patient\"}],\n\"multipleBirthInteger\":99999999999}",
            "Patient.multipleBirth",
            2,
        ),
    ] {
        let issue = refused_by_fhirbolt(json);
        assert_eq!((issue.expression.as_deref(), issue.line), (Some(path), Some(line)), "{issue:?}");
        assert!(!issue.diagnostics.contains("1.5"), "{issue:?}");
    }
}

/// One change of shape at a random place of a valid resource.
fn damage(dice: &mut Dice, value: &mut Value) {
    let inside = match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if inside > 0 && dice.below(4) > 0 {
        let at = dice.below(inside);
        match value {
            Value::Object(members) => damage(dice, members.values_mut().nth(at).unwrap()),
            Value::Array(items) => damage(dice, &mut items[at]),
            _ => {}
        }
        return;
    }
    match (dice.below(10), &mut *value) {
        (0, Value::Object(members)) => {
            let name = members.keys().nth(dice.below(inside)).unwrap().clone();
            members.shift_remove(&name);
        }
        (1, Value::Object(members)) => {
            let name = ["value", "_id", "text", "contained", "code"][dice.below(5)];
            members.insert(name.to_owned(), json!("x"));
        }
        (2, Value::Array(items)) => items.push(Value::Null),
        (3, Value::Array(items)) => items.clear(),
        (4, other) => *other = json!([other.clone()]),
        (5, Value::Array(items)) => {
            let item = items[0].clone();
            *value = item;
        }
        (6, other) => *other = json!({}),
        (7, other) => *other = json!(1.0),
        (8, other) => *other = json!("x"),
        (_, other) => *other = Value::Null,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The one pass only hardens: what it lets through fhirbolt never refuses.
    #[test]
    fn fhirbolt_takes_whatever_the_pass_takes(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let mut resource = resource(&mut dice, RESOURCE_TYPES, 3);
        damage(&mut dice, &mut resource);
        let json = resource.to_string();
        let findings = check(json.as_bytes(), true, 64);
        if findings.faults.is_empty() {
            let judged = model::judge(json.as_bytes(), &findings);
            prop_assert!(judged.is_ok(), "{:?}\n{}", judged, json);
        }
    }
}
