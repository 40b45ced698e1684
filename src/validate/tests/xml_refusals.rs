//! XML that is refused: by name, with the path and a part of what is said.

use super::corpus::note;
use super::xml::FHIR;
use crate::validate::{Mode, Refusal, Validator};

fn refusal(xml: &[u8]) -> Refusal {
    match Validator::new(Mode::Strict, 64).xml_to_json(xml) {
        Err(refusal) => refusal,
        Ok(json) => panic!("passed as {}", String::from_utf8_lossy(&json)),
    }
}

/// Name, what stands inside of a Patient, path, a part of what is said.
#[rustfmt::skip]
const STRUCTURE: &[(&str, &str, &str, &str)] = &[
    ("unknown element", r#"<foo value="a"/>"#, "Patient", "unknown element `foo`"),
    ("unknown element deep inside", r#"<name><foo value="a"/></name>"#, "Patient.name[0]", "unknown element `foo` in HumanName"),
    ("id as an element", r#"<name><id value="a"/></name>"#, "Patient.name[0]", "unknown element `id` in HumanName"),
    ("wrong order", r#"<active value="true"/><id value="a"/>"#, "Patient.id", "`id` is out of order: it stands after `active`"),
    ("repeats apart", r#"<name><family value="a"/></name><gender value="male"/><name><family value="b"/></name>"#, "Patient.name", "out of order"),
    ("single element twice", r#"<gender value="male"/><gender value="female"/>"#, "Patient.gender", "comes twice"),
    ("two of a choice", r#"<deceasedBoolean value="true"/><deceasedDateTime value="2020"/>"#, "Patient.deceased", "more than one value"),
    ("two of a choice the other way round", r#"<deceasedDateTime value="2020"/><deceasedBoolean value="true"/>"#, "Patient.deceased", "more than one value"),
    ("unknown attribute", r#"<id value="a" foo="b"/>"#, "Patient.id", "unknown attribute `foo`"),
    ("attribute of another namespace", r#"<id value="a" xml:lang="en"/>"#, "Patient.id", "unknown attribute `xml:lang`"),
    ("value on a complex element", r#"<name value="a"><family value="b"/></name>"#, "Patient.name[0]", "HumanName does not have"),
    ("url on another element", r#"<name url="a"><family value="b"/></name>"#, "Patient.name[0]", "HumanName does not have"),
    ("url on a primitive", r#"<id url="a" value="b"/>"#, "Patient.id", "a primitive does not have"),
    ("empty element", "<name/>", "Patient.name[0]", "an empty element"),
    ("empty primitive", "<gender/>", "Patient.gender", "an empty element"),
    ("child of a primitive", r#"<gender value="male"><text value="x"/></gender>"#, "Patient.gender", "unknown element `text`"),
    ("other namespace", r#"<id xmlns="urn:x" value="a"/>"#, "Patient", "outside of the namespace"),
    ("empty contained", "<contained/>", "Patient.contained[0]", "where a resource belongs"),
    ("two in one contained", r#"<contained><Basic><code><text value="x"/></code></Basic><Basic/></contained>"#, "Patient.contained[0]", "more than one resource"),
    ("no resource in contained", r#"<contained><name/></contained>"#, "Patient.contained[0]", "names no resource type"),
    ("id on contained", r#"<contained id="x"><Basic/></contained>"#, "Patient.contained[0]", "only holds a resource"),
    ("id on a resource", r#"<contained><Basic id="x"/></contained>"#, "Patient.contained[0]", "a resource has no attributes"),
    ("narrative without its namespace", r#"<text><status value="generated"/><div>x</div></text>"#, "Patient.text", "outside of the namespace"),
    ("another namespace in narrative", r#"<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><x xmlns="urn:x"/></div></text>"#, "Patient.text.div", "not in the namespace"),
];

#[test]
fn structure() {
    for (name, inner, path, text) in STRUCTURE {
        let refusal = refusal(format!("<Patient {FHIR}>\n{inner}</Patient>").as_bytes());
        let issue = &refusal.issues[0];
        assert!(!refusal.malformed && issue.diagnostics.contains(text), "{name}: {refusal:?}");
        assert_eq!(issue.expression.as_deref(), Some(*path), "{name}: {refusal:?}");
        assert_eq!(issue.line, Some(2), "{name}");
    }
    note(&format!("negatives, XML structure: {} cases, all refused, each with its place", STRUCTURE.len()));
}

#[test]
fn several_issues_in_order_and_at_most_twenty() {
    let issues = |inner: &str| {
        let refusal = refusal(format!("<Patient {FHIR}>\n{inner}</Patient>").as_bytes());
        let paths = refusal.issues.iter().map(|issue| issue.expression.clone().unwrap()).collect::<Vec<_>>();
        (paths, refusal)
    };
    let (paths, refusal) = issues(
        r#"<foo><bar>text</bar></foo><id url="x" value="a" bar="b"/><active/>
        <name id="n" value="a"><family value="b"/><family value="c"/><text value="x"/></name>
        <contained><Foo><x/></Foo></contained><name><foo/></name>
        <deceasedDateTime value="2020"/><deceasedBoolean value="true"/>"#,
    );
    assert_eq!(
        paths,
        [
            "Patient",
            "Patient.id",
            "Patient.id",
            "Patient.active",
            "Patient.name[0]",
            "Patient.name[0].family",
            "Patient.name[0].text",
            "Patient.contained",
            "Patient.contained[0]",
            "Patient.name[0]",
            "Patient.deceased",
        ],
        "{refusal:?}"
    );
    assert!(!refusal.malformed);
    assert_eq!(refusal.issues.iter().map(|issue| issue.line.unwrap()).max(), Some(5));
    let (paths, refusal) = issues(&r#"<name><foo value="a"/></name>"#.repeat(50));
    assert_eq!((refusal.issues.len(), paths[19].as_str()), (20, "Patient.name[19]"));
    // What ends the reading comes last.
    let (_, refusal) = issues("<foo/><active foo=\"x\" value=\"true\"/><![CDATA[x]]>");
    assert!(refusal.malformed && refusal.issues.len() == 3, "{refusal:?}");
    let narrative = r#"<text><status value="x"/><div xmlns="http://www.w3.org/1999/xhtml"><x xmlns="urn:x">a</x><y xmlns="urn:x"/></div></text><foo/>"#;
    let (paths, _) = issues(narrative);
    assert_eq!(paths, ["Patient.text.div", "Patient"]);
}

#[test]
fn malformed() {
    let patient = |inner: &str| format!("<Patient {FHIR}>{inner}</Patient>");
    let div = |inner: &str| {
        patient(&format!(
            r#"<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">{inner}</div></text>"#
        ))
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "before a resource begins"),
        ("text", b"hello".to_vec(), "text outside"),
        ("document type", format!("<!DOCTYPE Patient>{}", patient("")).into(), "document type"),
        (
            "entity bomb",
            format!(
                r#"<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>{}"#,
                patient(r#"<id value="&b;"/>"#)
            )
            .into(),
            "document type",
        ),
        (
            "external entity",
            format!(r#"<!DOCTYPE x SYSTEM "file:///etc/passwd">{}"#, patient("")).into(),
            "document type",
        ),
        ("document type inside", patient("<!DOCTYPE x>").into(), "document type"),
        ("processing instruction", format!("<?foo bar?>{}", patient("")).into(), "processing instruction"),
        ("processing instruction in narrative", div("<?foo?>").into(), "processing instruction"),
        ("CDATA", patient("<id><![CDATA[a]]></id>").into(), "CDATA"),
        ("CDATA in narrative", div("<![CDATA[a]]>").into(), "CDATA"),
        ("text in an element", patient("<id>a</id>").into(), "text outside"),
        ("reference between elements", patient("&amp;").into(), "text outside"),
        ("entity in an attribute", patient(r#"<id value="&b;"/>"#).into(), "no entity of XML"),
        ("entity in narrative", div("x&nbsp;y").into(), "an entity that XML does not have"),
        ("control character as a reference", patient(r#"<id value="&#1;"/>"#).into(), "does not allow"),
        ("zero as a reference", patient(r#"<id value="&#0;"/>"#).into(), "no entity of XML"),
        ("control character", patient("<id value=\"\u{1}\"/>").into(), "control character"),
        ("angle in an attribute", patient(r#"<id value="<"/>"#).into(), "does not allow"),
        ("duplicate attribute", patient(r#"<id value="a" value="b"/>"#).into(), "comes twice"),
        ("attribute without quotes", patient("<id value=a/>").into(), "not well formed"),
        (
            "second declaration",
            format!(r#"<?xml version="1.0"?><?xml version="1.0"?>{}"#, patient("")).into(),
            "not at the start",
        ),
        ("late declaration", format!(r#" <?xml version="1.0"?>{}"#, patient("")).into(), "not at the start"),
        ("XML 1.1", format!(r#"<?xml version="1.1"?>{}"#, patient("")).into(), "only XML 1.0"),
        (
            "Latin-1",
            format!(r#"<?xml version="1.0" encoding="ISO-8859-1"?>{}"#, patient("")).into(),
            "only UTF-8",
        ),
        ("UTF-16", patient("").encode_utf16().flat_map(u16::to_le_bytes).collect(), "control character"),
        (
            "invalid UTF-8 in a value",
            b"<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"\xFF\"/></Patient>".to_vec(),
            "not UTF-8",
        ),
        ("invalid UTF-8 in a prefix", b"<\xFF:Patient/>".to_vec(), "not UTF-8"),
        ("cut before the end tag", format!(r#"<Patient {FHIR}><id value="a"/>"#).into(), "ends early"),
        ("cut in a tag", format!(r#"<Patient {FHIR}><id val"#).into(), "ends inside"),
        ("cut in a value", format!(r#"<Patient {FHIR}><id value="a"#).into(), "ends inside"),
        (
            "cut in narrative",
            div("").replace("</div></text></Patient>", "").into(),
            "ends inside of narrative",
        ),
        ("crossed end tags", patient("<name></Patient></name>").into(), "does not match"),
        ("stray end tag", format!("{}</x>", patient("")).into(), "does not match"),
        ("second root", format!("{}{}", patient(""), patient("")).into(), "something follows"),
        ("text after the root", format!("{}x", patient("")).into(), "text outside"),
    ];
    note(&format!("negatives, no XML of FHIR: {} cases, each to be refused", cases.len()));
    for (name, xml, text) in cases {
        let refusal = refusal(&xml);
        assert!(refusal.malformed && refusal.issues[0].diagnostics.contains(text), "{name}: {refusal:?}");
        assert!(refusal.issues[0].line.is_some(), "{name}");
    }
}

#[test]
fn roots_that_are_no_resource() {
    for xml in [
        r#"<Patient/>"#,
        r#"<Patient xmlns="urn:x"/>"#,
        r#"<f:Patient xmlns:g="http://hl7.org/fhir"/>"#,
        r#"<name xmlns="http://hl7.org/fhir"/>"#,
        r#"<div xmlns="http://www.w3.org/1999/xhtml"/>"#,
        r#"<Patient xmlns="http://hl7.org/fhir" id="a"/>"#,
    ] {
        let refusal = refusal(xml.as_bytes());
        assert!(!refusal.malformed, "{xml}: {refusal:?}");
    }
}

/// Hostile shapes end early, in the stack of a test thread.
#[test]
fn bounds() {
    let extensions = |levels: usize| {
        let (open, close) = (r#"<extension url="u">"#.repeat(levels), "</extension>".repeat(levels));
        format!(r#"<Patient {FHIR}>{open}<valueCode value="a"/>{close}</Patient>"#)
    };
    let validator = Validator::new(Mode::Strict, 64);
    let deepest = validator.xml_to_json(extensions(63).as_bytes()).unwrap();
    assert!(validator.json(&deepest).is_ok());
    for levels in [64, 2_000, 100_000] {
        assert_eq!(refusal(extensions(levels).as_bytes()).issues[0].code, "too-costly");
    }
    let divs = format!(
        r#"<Patient {FHIR}><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">{}"#,
        "<b>".repeat(100_000)
    );
    assert_eq!(refusal(divs.as_bytes()).issues[0].code, "too-costly");
    let namespaces: String = (0..100_000).map(|n| format!(" xmlns:n{n}=\"urn:{n}\"")).collect();
    assert!(refusal(format!("<Patient {FHIR}{namespaces}/>").as_bytes()).malformed);
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"x\"")).collect();
    refusal(format!("<Patient {FHIR}{attributes}/>").as_bytes());
}
