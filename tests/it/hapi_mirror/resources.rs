//! Resources with what is easily lost on the way, and marks that no log may show.

/// Begins every value that tells about a patient.
pub const MARK: &str = "MARK";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Patient,
    Observation,
    Encounter,
    Condition,
    MedicationRequest,
    AllergyIntolerance,
    DiagnosticReport,
    Immunization,
    Organization,
    Practitioner,
    QuestionnaireResponse,
    /// Raw bytes at HAPI, and on the way.
    BinaryPdf,
    /// A resource at HAPI, and on the way.
    BinaryFhir,
    /// The rest is not supported by HealthLake.
    Basic,
    CodeSystem,
}

pub const KINDS: &[Kind] = &[
    Kind::Patient,
    Kind::Observation,
    Kind::Encounter,
    Kind::Condition,
    Kind::MedicationRequest,
    Kind::AllergyIntolerance,
    Kind::DiagnosticReport,
    Kind::Immunization,
    Kind::Organization,
    Kind::Practitioner,
    Kind::QuestionnaireResponse,
    Kind::BinaryPdf,
    Kind::BinaryFhir,
    Kind::Basic,
    Kind::CodeSystem,
];

impl Kind {
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub fn resource_type(self) -> String {
        match self {
            Self::BinaryPdf | Self::BinaryFhir => "Binary".to_owned(),
            other => format!("{other:?}"),
        }
    }

    pub fn supported(self) -> bool {
        !matches!(self, Self::Basic | Self::CodeSystem)
    }
}

/// FHIR JSON as text, so that 1.50 is written as 1.50; `n` makes it differ from the last one.
pub fn resource(kind: Kind, id: &str, n: u32) -> String {
    let subject = r#""subject":{"reference":"Patient/patient-0"}"#;
    let code = format!(r#""code":{{"text":"{MARK}-code {n}"}}"#);
    let rest = match kind {
        Kind::Patient => format!(
            r#"{NARRATIVE},"extension":[{{"url":"http://example.org/fhir/nested","extension":[
            {{"url":"weight","valueDecimal":{n}.50}},{{"url":"note","valueString":"{MARK}-extension \" \\ \/ ü 😀"}}]}}],
            "active":true,"name":[{{"family":"{MARK}-family-{n}","given":["{MARK}-a",null],
            "_given":[null,{{"extension":[{{"url":"http://example.org/fhir/why","valueCode":"unknown"}}]}}]}}],
            "birthDate":"1970-03","_birthDate":{{"extension":[{{"url":"http://example.org/fhir/time",
            "valueDateTime":"1970-03-30T10:00:00.123+02:00"}}]}},"multipleBirthInteger":{n}"#
        ),
        Kind::Observation => format!(
            r#""status":"final",{code},{subject},"valueQuantity":{{"value":1.50,"unit":"{MARK}-unit"}},
            "component":[{{"code":{{"text":"a"}},"valueQuantity":{{"value":{n}.000}}}},
            {{"code":{{"text":"b"}},"valueQuantity":{{"value":-0.00012300}}}},
            {{"code":{{"text":"c"}},"valueQuantity":{{"value":12345678901234567.89}}}},
            {{"code":{{"text":"d"}},"valueQuantity":{{"value":1.0E-3}}}}]"#
        ),
        Kind::Encounter => format!(
            r#""status":"finished","class":{{"code":"AMB"}},{subject},
            "length":{{"value":{n}.10,"unit":"min"}},"reasonCode":[{{"text":"{MARK}-reason"}}]"#
        ),
        Kind::Condition => {
            format!(r#"{NARRATIVE},{subject},{code},"note":[{{"text":"{MARK}-note\nline two\ttab {n}"}}]"#)
        }
        Kind::MedicationRequest => format!(
            r##""contained":[{{"resourceType":"Medication","id":"m","code":{{"text":"{MARK}-drug"}}}}],
            "status":"active","intent":"order","medicationReference":{{"reference":"#m"}},{subject},
            "dosageInstruction":[{{"doseAndRate":[{{"doseQuantity":{{"value":0.{n}0,"unit":"mg"}}}}]}}]"##
        ),
        Kind::AllergyIntolerance => {
            format!(
                r#"{code},"patient":{{"reference":"Patient/patient-0"}},"recordedDate":"2020-01-01T00:00:00Z""#
            )
        }
        Kind::DiagnosticReport => format!(
            r#""status":"final",{code},{subject},"presentedForm":[{{"contentType":"text/plain","data":"TUFSSy1mb3Jt","title":"{MARK}-title"}}]"#
        ),
        Kind::Immunization => format!(
            r#""status":"completed","vaccineCode":{{"text":"{MARK}-vaccine {n}"}},"patient":{{"reference":"Patient/patient-0"}},
            "occurrenceDateTime":"2021-05-06","doseQuantity":{{"value":0.50}}"#
        ),
        Kind::Organization => format!(
            r#""name":"{MARK}-clinic {n}","telecom":[{{"system":"phone","value":"{MARK}-phone"}}],
            "address":[{{"line":["{MARK}-street"],"extension":[{{"url":"http://example.org/fhir/place",
            "valueDecimal":47.10}}]}}]"#
        ),
        Kind::Practitioner => {
            format!(
                r#""name":[{{"text":"{MARK}-doctor {n}"}}],"qualification":[{{"code":{{"text":"{MARK}-md"}}}}]"#
            )
        }
        Kind::QuestionnaireResponse => format!(
            r#""status":"completed","item":[{{"linkId":"1","answer":[{{"valueString":"{MARK}-answer {n}",
            "item":[{{"linkId":"1.1","answer":[{{"valueDecimal":{n}.0}}]}}]}}]}}]"#
        ),
        // The document inside it is a mark as well: {"resourceType":"Patient","id":"MARK-a"}
        Kind::BinaryFhir => format!(
            r#""contentType":"application/fhir+json","securityContext":{{"reference":"Patient/{n}"}},
            "data":"eyJyZXNvdXJjZVR5cGUiOiJQYXRpZW50IiwiaWQiOiJNQVJLLWEifQ==""#
        ),
        Kind::BinaryPdf => unreachable!("it is not written as a resource"),
        Kind::Basic => format!(r#"{code},"created":"2020-01-01""#),
        Kind::CodeSystem => {
            format!(
                r#""status":"draft","content":"complete","concept":[{{"code":"c{n}","display":"{MARK}-display"}}]"#
            )
        }
    };
    let resource_type = kind.resource_type();
    let meta = r#""meta":{"tag":[{"system":"http://example.org/fhir/tag","code":"t"}]}"#;
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}",{meta},{rest}}}"#)
}

/// With entities, characters beyond ASCII and white space that counts.
const NARRATIVE: &str = r#""text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>MARK-div 1 &lt; 2 &amp;&amp; 3 &gt; 2</p>\n<pre>a  b\n  c</pre><br/><b>&quot;q&quot; ü &#233; &#160;</b><a href=\"http://example.org/?a=1&amp;b=2\">x</a></div>"}"#;
