//! Each kind of wrong resource by name: what is said of it, and where.

use super::corpus::note;
use super::{only_issue, refused, strict};

/// One row a case: its name, the document, IssueType, the path, and a part of what is said.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const STRUCTURE: &[Case] = &[
    ("duplicate key", r#"{"resourceType":"Patient","active":true,"active":true}"#,
        "structure", "Patient.active", "duplicate element `active`"),
    ("duplicate key, one of them escaped", r#"{"resourceType":"Patient","active":true,"\u0061ctive":true}"#,
        "structure", "Patient.active", "duplicate element `active`"),
    ("duplicate key deep inside", r#"{"resourceType":"Patient","name":[{"family":"x"},{"text":"a","text":"b"}]}"#,
        "structure", "Patient.name[1].text", "duplicate element `text`"),
    ("duplicate resourceType", r#"{"resourceType":"Patient","resourceType":"Patient","active":true}"#,
        "structure", "Patient.resourceType", "duplicate element `resourceType`"),
    ("empty array", r#"{"resourceType":"Patient","name":[]}"#, "structure", "Patient.name", "an empty array"),
    ("empty primitive array", r#"{"resourceType":"Patient","name":[{"given":[]}]}"#,
        "structure", "Patient.name[0].given", "an empty array"),
    ("empty object", r#"{"resourceType":"Patient","name":[{}]}"#, "structure", "Patient.name[0]", "an empty object"),
    ("empty sibling", r#"{"resourceType":"Patient","_active":{}}"#, "structure", "Patient.active", "an empty object"),
    ("empty string", r#"{"resourceType":"Patient","name":[{"family":""}]}"#, "value", "Patient.name[0].family", "is empty"),
    ("empty id", r#"{"resourceType":"Patient","id":""}"#, "value", "Patient.id", "is empty"),
    ("null for a single element", r#"{"resourceType":"Patient","active":null}"#,
        "structure", "Patient.active", "expected a boolean, found null"),
    ("null in an array of objects", r#"{"resourceType":"Patient","name":[null]}"#,
        "structure", "Patient.name[0]", "expected an object, found null"),
    ("null without a sibling", r#"{"resourceType":"Patient","name":[{"given":["a",null]}]}"#,
        "structure", "Patient.name[0]", "`given` has null without"),
    ("null in both", r#"{"resourceType":"Patient","name":[{"given":["a",null],"_given":[{"id":"x"},null]}]}"#,
        "structure", "Patient.name[0]", "null at the same place"),
    ("siblings of different length", r#"{"resourceType":"Patient","name":[{"given":["a","b"],"_given":[{"id":"x"}]}]}"#,
        "structure", "Patient.name[0]", "differ in length"),
    ("sibling that is no array", r#"{"resourceType":"Patient","name":[{"given":["a"],"_given":{"id":"x"}}]}"#,
        "structure", "Patient.name[0].given", "expected an array, found an object"),
    ("sibling that is an array", r#"{"resourceType":"Patient","active":true,"_active":[{"id":"x"}]}"#,
        "structure", "Patient.active", "expected an object, found an array"),
    ("sibling of an object", r#"{"resourceType":"Patient","_name":[{"id":"x"}]}"#,
        "structure", "Patient.name", "only a primitive has a `_` sibling"),
    ("array for single", r#"{"resourceType":"Patient","gender":["male"]}"#,
        "structure", "Patient.gender", "expected a string for code, found an array"),
    ("single for array", r#"{"resourceType":"Patient","name":{"family":"x"}}"#,
        "structure", "Patient.name", "expected an array, found an object"),
    ("single string for array", r#"{"resourceType":"Patient","name":[{"given":"x"}]}"#,
        "structure", "Patient.name[0].given", "expected an array, found a string"),
    ("string for boolean", r#"{"resourceType":"Patient","active":"true"}"#,
        "structure", "Patient.active", "expected a boolean, found a string"),
    ("number for string", r#"{"resourceType":"Patient","name":[{"family":5}]}"#,
        "structure", "Patient.name[0].family", "expected a string for string, found a number"),
    ("string for number", r#"{"resourceType":"Patient","multipleBirthInteger":"2"}"#,
        "structure", "Patient.multipleBirth", "expected a number for integer, found a string"),
    ("object for string", r#"{"resourceType":"Patient","gender":{"a":[1,{"b":null}]}}"#,
        "structure", "Patient.gender", "expected a string for code, found an object"),
    ("unknown element", r#"{"resourceType":"Patient","name":[{"familly":"x"}]}"#,
        "structure", "Patient.name[0].familly", "unknown element `familly` in HumanName"),
    ("unknown element with a choice's prefix", r#"{"resourceType":"Patient","deceasedString":"x"}"#,
        "structure", "Patient.deceasedString", "unknown element `deceasedString`"),
    ("unknown element without a speakable name", r#"{"resourceType":"Patient","a b":{"c":"\u0041"}}"#,
        "structure", "Patient", "unknown element `a b` in Patient"),
    ("resourceType in an element", r#"{"resourceType":"Patient","name":[{"resourceType":"HumanName","family":"x"}]}"#,
        "structure", "Patient.name[0].resourceType", "unknown element `resourceType` in HumanName"),
    ("missing element", r#"{"resourceType":"Observation","status":"final"}"#,
        "required", "Observation", "missing required element `code`"),
    ("missing element deep inside", r#"{"resourceType":"Patient","link":[{"type":"refer"}]}"#,
        "required", "Patient.link[0]", "missing required element `other`"),
    ("missing choice", r#"{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"display":"x"}}"#,
        "required", "MedicationRequest", "missing required element `medication[x]`"),
    ("two of a choice", r#"{"resourceType":"Patient","deceasedBoolean":true,"deceasedDateTime":"2020"}"#,
        "structure", "Patient.deceased", "more than one value for the choice `deceased[x]`"),
    ("two of a choice, one as a sibling", r#"{"resourceType":"Patient","deceasedBoolean":true,"_deceasedDateTime":{"id":"x"}}"#,
        "structure", "Patient.deceased", "more than one value"),
    ("unknown resourceType", r#"{"resourceType":"Patientt","active":true}"#, "structure", "Patientt", "names no resource type"),
    ("abstract resourceType", r#"{"resourceType":"DomainResource"}"#, "structure", "DomainResource", "names no resource type"),
    ("a data type as resourceType", r#"{"resourceType":"HumanName","family":"x"}"#, "structure", "HumanName", "names no resource type"),
    ("unknown contained resourceType", r#"{"resourceType":"Patient","contained":[{"resourceType":"X"}]}"#,
        "structure", "Patient.contained[0]", "names no resource type"),
    ("contained without resourceType", r#"{"resourceType":"Patient","contained":[{"id":"x"}]}"#,
        "structure", "Patient.contained[0]", "without a `resourceType`"),
    ("nested contained",
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"x"}]}]}"#,
        "structure", "Patient.contained[0].contained", "contains resources itself"),
    ("wrong inside a Bundle entry", r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","active":1}}]}"#,
        "structure", "Bundle.entry[0].resource.active", "expected a boolean, found a number"),
    ("wrong inside a sibling's extension", r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"u","valueDateTime":"1970-03-30T10:00:00"}]}}"#,
        "value", "Patient.birthDate.extension[0].value", "not a valid dateTime"),
    ("script in narrative", r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div><script>1</script></div>"}}"#,
        "invariant", "Patient.text.div", "element `script` is not allowed"),
];

#[test]
fn structure() {
    for (name, json, code, path, text) in STRUCTURE {
        let issue = only_issue(json);
        assert_eq!(issue.code, *code, "{name}: {issue:?}");
        assert_eq!(issue.expression.as_deref(), Some(*path), "{name}: {issue:?}");
        assert!(issue.diagnostics.contains(text), "{name}: {issue:?}");
        assert!(!refused(json).malformed, "{name}");
    }
    note(&format!("negatives, structure: {} cases, all refused, each with its place", STRUCTURE.len()));
}

/// What does not parse: the document, line and column, and a part of what is said.
#[rustfmt::skip]
const SYNTAX: &[(&str, &[u8], u32, u32, &str)] = &[
    ("nothing", b"", 1, 1, "ends early"),
    ("white space only", b"\n ", 2, 2, "ends early"),
    ("bytes after the resource", b"{\"resourceType\":\"Patient\"}\n{", 2, 1, "after the end"),
    ("a zero byte after the resource", b"{\"resourceType\":\"Patient\"}\0", 1, 27, "after the end"),
    ("cut in an object", b"{\"resourceType\":\"Patient\",\n\"active\":true", 2, 14, "ends early"),
    ("cut in a string", b"{\"resourceType\":\"Patient\",\n\"gender\":\"ma", 2, 13, "ends inside a string"),
    ("cut after a key", b"{\"resourceType\":\"Patient\",\"active\"", 1, 35, "expected `:`"),
    ("trailing comma", b"{\"resourceType\":\"Patient\",}", 1, 27, "name of an element"),
    ("missing comma", b"{\"resourceType\":\"Patient\" \"active\":true}", 1, 27, "expected `,` or `}`"),
    ("single quotes", b"{'resourceType':'Patient'}", 1, 2, "double quotes"),
    ("comment", b"{/* */\"resourceType\":\"Patient\"}", 1, 2, "double quotes"),
    ("leading zero", b"{\"resourceType\":\"Patient\",\"multipleBirthInteger\":01}", 1, 50, "not a JSON number"),
    ("number cut", b"{\"resourceType\":\"Basic\",\"x\":-}", 1, 29, "not a JSON number"),
    ("unknown literal", b"{\"resourceType\":\"Patient\",\"active\":yes}", 1, 36, "not a JSON value"),
    ("control character in a string", b"{\"resourceType\":\"Patient\",\"id\":\"a\nb\"}", 1, 34, "control character"),
    ("unknown escape", br#"{"resourceType":"Patient","id":"\x"}"#, 1, 33, "no such escape"),
    ("cut unicode escape", br#"{"resourceType":"Patient","id":"\u12"}"#, 1, 33, "four hexadecimal"),
    ("unpaired high surrogate", br#"{"resourceType":"Patient","id":"\ud83d"}"#, 1, 33, "unpaired surrogate"),
    ("unpaired low surrogate", br#"{"resourceType":"Patient","id":"\ude00x"}"#, 1, 33, "unpaired surrogate"),
    ("surrogates the wrong way round", br#"{"resourceType":"Patient","id":"\ude00\ud83d"}"#, 1, 33, "unpaired surrogate"),
    ("byte order mark", b"\xEF\xBB\xBF{\"resourceType\":\"Patient\"}", 1, 1, "byte order mark"),
    ("invalid UTF-8", b"{\"resourceType\":\"Patient\",\n\"id\":\"\xFF\"}", 2, 7, "not UTF-8"),
    ("overlong UTF-8", b"{\"resourceType\":\"\xC0\x80\"}", 1, 18, "not UTF-8"),
    ("surrogate in UTF-8", b"{\"resourceType\":\"\xED\xA0\x80\"}", 1, 18, "not UTF-8"),
    ("UTF-16", b"{\0\"\0", 1, 2, "name of an element"),
];

#[test]
fn syntax() {
    for (name, json, line, column, text) in SYNTAX {
        let validator = super::Validator::new(super::Mode::Strict, 64);
        let refusal = validator.json(json).unwrap_err();
        assert!(refusal.malformed, "{name}: {refusal:?}");
        let issue = refusal.issues.last().unwrap();
        assert_eq!((issue.line, issue.column), (Some(*line), Some(*column)), "{name}: {issue:?}");
        assert!(issue.diagnostics.contains(text), "{name}: {issue:?}");
    }
    note(&format!("negatives, syntax: {} cases, all refused, each with line and column", SYNTAX.len()));
}

#[test]
fn no_object_is_no_resource() {
    for json in ["[]", "null", "\"x\"", "5", "true", "{}", r#"{"id":"x"}"#, r#"{"resourceType":5}"#] {
        let issue = only_issue(json);
        assert_eq!(issue.code, "structure", "{json}");
    }
}

#[test]
fn depth_is_bounded_and_the_bound_itself_passes() {
    let nested = |levels: usize| {
        let mut json = r#"{"resourceType":"Basic","code":{"text":"x"}"#.to_owned();
        for _ in 0..levels {
            json += r#","extension":[{"url":"u""#;
        }
        for _ in 0..levels {
            json += "}]";
        }
        json + "}"
    };
    assert!(strict(&nested(63)).is_ok(), "64 levels with the resource");
    let issue = only_issue(&nested(64));
    assert_eq!(issue.code, "too-costly");
    // Far beyond it, in a known element and in an unknown one: no stack is lost.
    assert_eq!(only_issue(&nested(200_000)).code, "too-costly");
    let unknown = format!(r#"{{"resourceType":"Basic","x":{}"#, "[".repeat(1_000_000));
    assert_eq!(only_issue(&unknown).code, "too-costly");
    let before_type = format!(r#"{{"x":{}"#, "{\"a\":".repeat(1_000_000));
    assert_eq!(only_issue(&before_type).code, "too-costly");
}

#[test]
fn several_issues_are_reported_in_order_and_at_most_twenty() {
    let refusal = refused(
        r#"{"resourceType":"Patient","birthDate":"x","name":[{"familly":"y","given":["a",""]}],"active":1}"#,
    );
    let paths: Vec<_> = refusal.issues.iter().map(|issue| issue.expression.as_deref().unwrap()).collect();
    assert_eq!(
        paths,
        ["Patient.birthDate", "Patient.name[0].familly", "Patient.name[0].given[1]", "Patient.active"]
    );
    let many = format!(r#"{{"resourceType":"Patient","name":[{}]}}"#, vec![r#"{"x":1}"#; 50].join(","));
    let refusal = refused(&many);
    assert_eq!(refusal.issues.len(), 20);
    assert_eq!(refusal.issues[19].expression.as_deref(), Some("Patient.name[19].x"));
}

#[test]
fn no_value_of_the_payload_is_repeated() {
    let secret = "Zebediah";
    for json in [
        r#"{"resourceType":"Patient","birthDate":"Zebediah"}"#,
        r#"{"resourceType":"Patient","active":"Zebediah"}"#,
        r#"{"resourceType":"Zebediah Patient"}"#,
        r#"{"resourceType":"Patient","name":["Zebediah"]}"#,
        r#"{"resourceType":"Patient","text":{"status":"x","div":"Zebediah"}}"#,
        r#"{"resourceType":"Patient","text":{"status":"x","div":"<div title='Zebediah' title='Zebediah'/>"}}"#,
        r#"{"resourceType":"Patient","text":{"status":"x","div":"<div>&Zebediah;</div>"}}"#,
    ] {
        let refusal = refused(json);
        assert!(!format!("{refusal:?}").contains(secret), "{refusal:?}");
    }
}

#[test]
fn an_unknown_name_is_cut() {
    let json = format!(r#"{{"resourceType":"Patient","{}":1}}"#, "x".repeat(10_000));
    let issue = only_issue(&json);
    assert!(issue.diagnostics.len() < 120 && issue.expression.unwrap().len() < 120);
}
