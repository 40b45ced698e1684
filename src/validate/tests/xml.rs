//! XML that is taken, and what JSON it becomes.

use super::corpus::examples;
use super::xml_writer::to_xml;
use crate::validate::{Mode, Validator};

pub(super) const FHIR: &str = r#"xmlns="http://hl7.org/fhir""#;

fn converted(xml: &str) -> String {
    let validator = Validator::new(Mode::Strict, 64);
    let json = validator.xml_to_json(xml.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}: {xml}"));
    validator.json(&json).unwrap_or_else(|refusal| panic!("{refusal:?}: {}", String::from_utf8_lossy(&json)));
    String::from_utf8(json).unwrap()
}

fn patient(inner: &str) -> String {
    converted(&format!("<Patient {FHIR}>{inner}</Patient>"))
}

#[test]
fn official_examples_survive_xml() {
    let mut wrong = Vec::new();
    for (file, _) in examples().filter(|(_, invalid)| invalid.is_none()) {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let back: serde_json::Value = serde_json::from_str(&converted(&to_xml(&json))).unwrap();
        if back != json {
            wrong.push(file);
        }
    }
    assert_eq!(wrong, Vec::<std::path::PathBuf>::new());
}

#[test]
fn declarations_comments_and_hints() {
    let expected = r#"{"resourceType":"Patient","id":"a","active":true}"#;
    let inner = r#"<id value="a"/><active value="true"></active>"#;
    for xml in [
        format!("<Patient {FHIR}>{inner}</Patient>"),
        format!("\u{FEFF}<Patient {FHIR}>{inner}</Patient>"),
        format!("<?xml version=\"1.0\"?><Patient {FHIR}>{inner}</Patient>"),
        format!("<?xml version='1.0' encoding='utf-8' standalone='no'?>\n<Patient {FHIR}>{inner}</Patient>\n"),
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- a --><Patient {FHIR}><!-- b -->{inner}</Patient><!-- c -->"),
        format!("<Patient {FHIR} xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"a b\">{inner}</Patient>"),
        r#"<f:Patient xmlns:f="http://hl7.org/fhir"><f:id value="a"/><f:active value="true"/></f:Patient >"#.to_owned(),
        r#"<f:Patient xmlns:f="http://hl7.org/fhir"><id xmlns="http://hl7.org/fhir" value="a"/><f:active value='true'/></f:Patient>"#.to_owned(),
        format!("<Patient {FHIR} xmlns:unused=\"urn:x\">\n\t{inner}\r\n</Patient>"),
    ] {
        assert_eq!(converted(&xml), expected, "{xml}");
    }
}

#[test]
fn values_keep_their_form() {
    let json = converted(&format!(
        r#"<Observation {FHIR}><extension url="u"><valueDecimal value="1.50"/></extension><status value="final"/><code><text value="a&#10;b &lt;&quot;&amp;&#x1F600;"/></code><valueQuantity><value value="0.10"/></valueQuantity></Observation>"#
    ));
    assert_eq!(
        json,
        r#"{"resourceType":"Observation","extension":[{"url":"u","valueDecimal":1.50}],"status":"final","code":{"text":"a\nb <\"&😀"},"valueQuantity":{"value":0.10}}"#
    );
}

/// XML's own rule: a line break in an attribute is a space, unless it is written as a reference.
#[test]
fn line_breaks_in_attributes_are_spaces() {
    assert_eq!(
        patient("<name><text value=\"a\r\n b\tc&#9;d\"/></name>"),
        r#"{"resourceType":"Patient","name":[{"text":"a  b c\td"}]}"#
    );
}

#[test]
fn extensions_of_primitives_go_to_the_sibling() {
    let unknown = r#"<extension url="u"><valueCode value="c"/></extension>"#;
    assert_eq!(
        patient(&format!(
            r#"<name><given value="a"/><given id="x" value="b"/><given>{unknown}</given></name>"#
        )),
        r#"{"resourceType":"Patient","name":[{"given":["a","b",null],"_given":[null,{"id":"x"},{"extension":[{"url":"u","valueCode":"c"}]}]}]}"#
    );
    assert_eq!(
        patient(&format!(
            r#"<name><given>{unknown}</given></name><birthDate value="1970">{unknown}</birthDate>"#
        )),
        r#"{"resourceType":"Patient","name":[{"_given":[{"extension":[{"url":"u","valueCode":"c"}]}]}],"birthDate":"1970","_birthDate":{"extension":[{"url":"u","valueCode":"c"}]}}"#
    );
}

#[test]
fn resources_inside() {
    assert_eq!(
        patient(
            r#"<contained><Patient><id value="p"/></Patient></contained><contained><!-- x --><Basic><code><text value="x"/></code></Basic></contained><active value="true"/>"#
        ),
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"p"},{"resourceType":"Basic","code":{"text":"x"}}],"active":true}"#
    );
    assert_eq!(
        converted(&format!(
            r#"<Bundle {FHIR}><type value="collection"/><entry><resource><Patient id="ignored" xmlns="http://hl7.org/fhir"/></resource></entry></Bundle>"#
        ).replace(" id=\"ignored\"", "")),
        r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient"}}]}"#
    );
}

#[test]
fn narrative_is_kept_as_it_is_written() {
    let own = r##"<div xmlns="http://www.w3.org/1999/xhtml" class='c' lang="en"><p>one <b>two</b> three &lt; é&#160;</p> <br/>
 <!-- note --> tail<img src="#i" alt=""/></div >"##;
    let kept = |written: &str, expected: &str| {
        let xml = format!(
            r#"<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:text><f:status value="generated"/>{written}</f:text></f:Patient>"#
        );
        let json: serde_json::Value = serde_json::from_str(&converted(&xml)).unwrap();
        assert_eq!(json["text"]["div"], expected);
    };
    kept(own, own);
    kept(r#"<div xmlns="http://www.w3.org/1999/xhtml"/>"#, r#"<div xmlns="http://www.w3.org/1999/xhtml"/>"#);
    // A prefix, and a namespace from outside: the string has to stand alone.
    kept(
        r#"<h:div>a<h:b title="x">b</h:b><h:br/></h:div>"#,
        r#"<div xmlns="http://www.w3.org/1999/xhtml">a<b title="x">b</b><br/></div>"#,
    );
    let inherited = r#"<f:Patient xmlns:f="http://hl7.org/fhir" xmlns="http://www.w3.org/1999/xhtml"><f:text><f:status value="generated"/><div><b>a</b></div></f:text></f:Patient>"#;
    assert!(converted(inherited).contains(r#"<div xmlns=\"http://www.w3.org/1999/xhtml\"><b>a</b></div>"#));
}
