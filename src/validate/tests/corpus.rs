//! HL7's own examples and lists of primitives, where they are at hand. They are not ours to ship.

use std::path::PathBuf;

use crate::validate::{Mode, Refusal, Validator};

#[path = "../../../tests/it/support/corpus.rs"]
mod shared;

use shared::corpus;
pub(super) use shared::note;

pub(super) fn files(part: &str) -> Vec<PathBuf> {
    let Some(directory) = corpus(part) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// HL7's examples that are not valid R4, where the complete set is at hand, and what is wrong with them. Two are the
/// same guide without its required elements, one leaves out `linkId`, one has an id of 67 characters; the last is
/// the package's own manifest and no resource.
const INVALID: [(&str, &str); 5] = [
    ("ImplementationGuide-fhir.json", "missing required element `name`"),
    ("Questionnaire-qs1.json", "missing required element `linkId`"),
    (
        "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json",
        "not a valid id",
    ),
    ("ig-r4.json", "missing required element `name`"),
    ("package.json", "without a `resourceType`"),
];

/// The official examples, each with what it is to be refused for, if it is.
pub(super) fn examples() -> impl Iterator<Item = (PathBuf, Option<&'static str>)> {
    files("r4-examples").into_iter().map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let invalid = INVALID.iter().find(|(invalid, _)| *invalid == name);
        (file, invalid.map(|(_, why)| *why))
    })
}

fn said(refusal: &Refusal) -> String {
    let issue = &refusal.issues[0];
    format!("{:?}: {}", issue.expression, issue.diagnostics)
}

#[test]
fn official_examples_pass() {
    let validator = Validator::new(Mode::Strict, 64);
    let (mut passed, mut rightly, mut wrong) = (0, 0, Vec::new());
    for (file, invalid) in examples() {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match (validator.json(&bytes), invalid) {
            (Ok(facts), None) => {
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(value["resourceType"], &*facts.resource_type, "{name}");
                assert_eq!(value["id"].as_str(), facts.id.as_deref(), "{name}");
                assert_eq!(value["meta"]["versionId"].as_str(), facts.version_id.as_deref(), "{name}");
                assert_eq!(value["meta"]["lastUpdated"].as_str(), facts.last_updated.as_deref(), "{name}");
                passed += 1;
            }
            (Err(refusal), Some(why)) if said(&refusal).contains(why) => rightly += 1,
            (Err(refusal), _) => wrong.push(format!("{name} {}", said(&refusal))),
            (Ok(_), Some(why)) => wrong.push(format!("{name} passed in spite of: {why}")),
        }
    }
    note(&format!("official examples: {passed} passed, {rightly} refused rightly, {} wrongly", wrong.len()));
    assert_eq!(wrong, Vec::<String>::new());
}
