//! What holds for any resource, not only for the ones somebody thought of.

use lakehook_fhirbolt_r4::RESOURCE_TYPES;
use proptest::prelude::*;
use serde_json::Value;

use super::generate::{Dice, resource};
use super::xml_writer::to_xml;
use crate::validate::{Mode, Validator};

fn validator() -> Validator {
    Validator::new(Mode::Strict, 64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the table allows fhirbolt takes, and XML carries it without loss, decimals digit for digit.
    #[test]
    fn any_valid_resource_passes_and_survives_xml(seed in any::<u64>()) {
        let resource = resource(&mut Dice::new(seed), RESOURCE_TYPES, 4);
        let json = resource.to_string();
        let answer = validator().json(json.as_bytes());
        prop_assert!(answer.is_ok(), "{answer:?}\n{json}");
        let xml = to_xml(&resource);
        let back = validator().xml_to_json(xml.as_bytes());
        prop_assert!(back.is_ok(), "{back:?}\n{xml}");
        let back: Value = serde_json::from_slice(&back.unwrap()).unwrap();
        prop_assert_eq!(back, resource);
    }

    /// A resource that lost or gained a byte is judged, never a panic; and what passes is JSON to serde_json too.
    #[test]
    fn any_damage_is_answered(seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut json = resource(&mut Dice::new(seed), RESOURCE_TYPES, 3).to_string().into_bytes();
        let at = at.index(json.len());
        if cut {
            json.remove(at);
        } else {
            json[at] = byte;
        }
        for mode in [Mode::Strict, Mode::Structure, Mode::Off] {
            let answer = Validator::new(mode, 64).json(&json);
            if answer.is_ok() {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
            } else {
                prop_assert!(!answer.unwrap_err().issues.is_empty());
            }
        }
    }

    #[test]
    fn any_damaged_xml_is_answered(seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut xml = to_xml(&resource(&mut Dice::new(seed), RESOURCE_TYPES, 3)).into_bytes();
        let at = at.index(xml.len());
        if cut {
            xml.truncate(at);
        } else {
            xml[at] = byte;
        }
        if let Ok(json) = validator().xml_to_json(&xml) {
            prop_assert!(!cut || xml.ends_with(b">"), "a cut document passed");
            prop_assert!(serde_json::from_slice::<Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(validator().json(&bytes).is_err());
        prop_assert!(validator().xml_to_json(&bytes).is_err());
    }
}

/// Decimals are compared as they are written: otherwise the properties above would be worth less.
#[test]
fn the_comparison_sees_every_digit() {
    let one: Value = serde_json::from_str("1.50").unwrap();
    assert_eq!(one.to_string(), "1.50");
}
