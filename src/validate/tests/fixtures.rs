//! Our own resources, each written by hand in both forms.

use std::path::PathBuf;

use serde_json::Value;

use super::xml_writer::to_xml;
use crate::validate::{Mode, Validator};

#[test]
fn both_forms_pass_and_are_the_same() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/resources");
    let validator = Validator::new(Mode::Strict, 64);
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json = std::fs::read(&file).unwrap();
        let facts = validator.json(&json).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", file.display()));
        let expected: Value = serde_json::from_slice(&json).unwrap();
        let by_hand = std::fs::read_to_string(file.with_extension("xml")).unwrap();
        for xml in [by_hand, to_xml(&expected)] {
            let converted = validator.xml_to_json(xml.as_bytes()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&converted).unwrap(), expected, "{}", file.display());
            assert_eq!(validator.json(&converted).unwrap(), facts);
        }
        seen += 1;
    }
    assert!(seen >= 3);
}
