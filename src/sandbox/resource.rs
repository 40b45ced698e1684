//! A resource as it comes in: read only as far as a store must, and rewritten only where HealthLake rewrites.
//!
//! The rewriting works on raw JSON text. A typed tree would spell `1.50` as `1.5` and reorder members, and a
//! test that compares what was sent with what is stored would then judge the sandbox instead of the sender.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::types;

/// Base of every profile that HealthLake validates against, from AWS's list of implementation guides.
const KNOWN_PROFILES: &[&str] = &[
    "http://hl7.org/fhir/StructureDefinition/",
    "http://hl7.org/fhir/us/core/StructureDefinition/",
    "http://hl7.org/fhir/us/carin-bb/StructureDefinition/",
    "http://hl7.org/fhir/us/davinci-hrex/StructureDefinition/",
    "http://hl7.org/fhir/us/davinci-pdex/StructureDefinition/",
    "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/",
    "http://hl7.org/fhir/us/davinci-drug-formulary/StructureDefinition/",
    "https://fhir.hl7.org.uk/StructureDefinition/",
    "https://nrces.in/ndhm/fhir/r4/StructureDefinition/",
];

/// A JSON object's members in the order they came, values untouched.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a member occurs twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }
}

/// Why a body is refused before any rule of FHIR is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Defect {
    Malformed,
    /// `meta` is no object, or `meta.profile` no list of strings.
    BadMeta,
    NoType,
    NoId,
    BadId(String),
    OtherType(String),
    OtherId(String),
    UnknownProfile(String),
}

/// What the CDR wrote about itself, kept for the history: HealthLake overwrites it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) version: Option<String>,
    pub(super) last_updated: Option<String>,
}

/// A body that may be stored. Compact JSON text of one object.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    json: String,
    pub(super) origin: Origin,
}

/// What the call says that the body must agree with.
pub(super) struct Expected<'a> {
    pub(super) kind: &'a str,
    /// None: HealthLake gives the id (a create).
    pub(super) id: Option<&'a str>,
    /// Refuse `meta.profile` that HealthLake does not know.
    pub(super) known_profiles_only: bool,
}

impl Draft {
    pub(super) fn read(body: &[u8], expected: &Expected<'_>) -> Result<Self, Defect> {
        let text = std::str::from_utf8(body).map_err(|_| Defect::Malformed)?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|_| Defect::Malformed)?;
        let kind = members.text("resourceType").ok_or(Defect::NoType)?;
        if kind != expected.kind {
            return Err(Defect::OtherType(kind));
        }
        if let Some(expected) = expected.id {
            let id = members.text("id").ok_or(Defect::NoId)?;
            if !types::is_id(&id) {
                return Err(Defect::BadId(id));
            }
            if id != expected {
                return Err(Defect::OtherId(id));
            }
        }
        let meta = match members.get("meta") {
            Some(meta) => serde_json::from_str(meta.get()).map_err(|_| Defect::BadMeta)?,
            None => Members(Vec::new()),
        };
        if expected.known_profiles_only {
            let profiles: Vec<String> = match meta.get("profile") {
                Some(profiles) => serde_json::from_str(profiles.get()).map_err(|_| Defect::BadMeta)?,
                None => Vec::new(),
            };
            if let Some(unknown) =
                profiles.into_iter().find(|url| !KNOWN_PROFILES.iter().any(|base| url.starts_with(base)))
            {
                return Err(Defect::UnknownProfile(unknown));
            }
        }
        let origin = Origin { version: meta.text("versionId"), last_updated: meta.text("lastUpdated") };
        Ok(Self { json: compact(text), origin })
    }

    /// The stored form: `meta.versionId` and `meta.lastUpdated` are HealthLake's own, all else is the sender's.
    pub(super) fn stamped(&self, id: &str, version: u64, at: Timestamp) -> Arc<RawValue> {
        // Read above: a failure here cannot happen, and would only leave the text as it came.
        let mut members = members(&self.json);
        let version = quoted(&version.to_string());
        let last_updated = quoted(&instant(at));
        let id = quoted(id);

        let old = members.iter().find(|(name, _)| name == "meta").map(|(_, value)| value.clone());
        let mut meta = old.map(|old| self::members(&old)).unwrap_or_default();
        set(&mut meta, "versionId", version, None);
        set(&mut meta, "lastUpdated", last_updated, None);
        set(&mut members, "id", id, Some("resourceType"));
        set(&mut members, "meta", object(&meta), Some("id"));
        raw(object(&members))
    }
}

/// Only what `_elements` asks for, and what must come anyway; marked as a part.
pub(super) fn elements(resource: &RawValue, wanted: &[&str]) -> Arc<RawValue> {
    let mut members = members(resource.get());
    members.retain(|(name, _)| {
        ["resourceType", "id", "meta"].contains(&name.as_str())
            || wanted.contains(&name.strip_prefix('_').unwrap_or(name))
    });
    let tag = r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;
    if let Some((_, meta)) = members.iter_mut().find(|(name, _)| name == "meta") {
        let mut inner = self::members(meta);
        let tags = match inner.iter().find(|(name, _)| name == "tag") {
            Some((_, tags)) if tags.len() > 2 => format!("{},{tag}]", &tags[..tags.len() - 1]),
            _ => format!("[{tag}]"),
        };
        set(&mut inner, "tag", tags, None);
        *meta = object(&inner);
    }
    raw(object(&members))
}

/// FHIR's instant, in the milliseconds HealthLake shows.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn members(text: &str) -> Vec<(String, String)> {
    let members: Result<Members<'_>, _> = serde_json::from_str(text);
    members
        .map(|members| members.0.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect())
        .unwrap_or_default()
}

fn set(members: &mut Vec<(String, String)>, name: &str, value: String, after: Option<&str>) {
    if let Some((_, old)) = members.iter_mut().find(|(other, _)| other == name) {
        *old = value;
        return;
    }
    let at = after.and_then(|after| members.iter().position(|(other, _)| other == after));
    members.insert(at.map_or(members.len(), |at| at + 1), (name.to_owned(), value));
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn raw(json: String) -> Arc<RawValue> {
    Arc::from(RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned()))
}

/// White space between tokens goes (a line of NDJSON holds one resource); what stands in a string stays.
fn compact(text: &str) -> String {
    let (mut compact, mut in_string, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        compact.push(c);
    }
    compact
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PATIENT: Expected<'_> = Expected { kind: "Patient", id: Some("a"), known_profiles_only: true };

    fn read(body: &str) -> Result<Draft, Defect> {
        Draft::read(body.as_bytes(), &PATIENT)
    }

    fn at() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    #[test]
    fn only_version_and_last_updated_change() {
        let body = "{ \"resourceType\":\"Patient\",\n \"id\":\"a\",\"meta\":{\"versionId\":\"77\",\"tag\":[{\"code\":\"x y\"}],\
                    \"lastUpdated\":\"2001-01-01T00:00:00Z\"},\"n\":[1.50, 1e2,\"\\\" , {\"] }";
        let draft = read(body).unwrap();
        assert_eq!(draft.origin.version.as_deref(), Some("77"));
        assert_eq!(draft.origin.last_updated.as_deref(), Some("2001-01-01T00:00:00Z"));
        assert_eq!(
            draft.stamped("a", 3, at()).get(),
            "{\"resourceType\":\"Patient\",\"id\":\"a\",\"meta\":{\"versionId\":\"3\",\"tag\":[{\"code\":\"x y\"}],\
             \"lastUpdated\":\"2026-01-02T03:04:05.678Z\"},\"n\":[1.50,1e2,\"\\\" , {\"]}"
        );
    }

    #[test]
    fn meta_and_id_are_added_where_missing() {
        let expected = Expected { kind: "Patient", id: None, known_profiles_only: true };
        let draft = Draft::read(br#"{"resourceType":"Patient","active":true}"#, &expected).unwrap();
        assert_eq!(
            draft.stamped("n", 1, at()).get(),
            r#"{"resourceType":"Patient","id":"n","meta":{"versionId":"1","lastUpdated":"2026-01-02T03:04:05.678Z"},"active":true}"#
        );
    }

    #[test]
    fn defects_are_told_apart() {
        assert_eq!(read("{").unwrap_err(), Defect::Malformed);
        assert_eq!(read("[]").unwrap_err(), Defect::Malformed);
        assert_eq!(read(r#"{"resourceType":"Patient","id":"a"}x"#).unwrap_err(), Defect::Malformed);
        assert_eq!(read(r#"{"resourceType":"Patient","id":"a","id":"a"}"#).unwrap_err(), Defect::Malformed);
        assert_eq!(read("{}").unwrap_err(), Defect::NoType);
        assert_eq!(read(r#"{"resourceType":"Patient","id":"a","meta":1}"#).unwrap_err(), Defect::BadMeta);
        assert_eq!(read(r#"{"resourceType":"Patient"}"#).unwrap_err(), Defect::NoId);
        assert_eq!(
            read(r#"{"resourceType":"Patient","id":"a b"}"#).unwrap_err(),
            Defect::BadId("a b".into())
        );
        assert_eq!(read(r#"{"resourceType":"Patient","id":"b"}"#).unwrap_err(), Defect::OtherId("b".into()));
        assert_eq!(
            read(r#"{"resourceType":"Group","id":"a"}"#).unwrap_err(),
            Defect::OtherType("Group".into())
        );
    }

    #[test]
    fn profiles_of_the_guides_healthlake_lists_are_known() {
        let with = |url: &str| {
            read(&format!(r#"{{"resourceType":"Patient","id":"a","meta":{{"profile":["{url}"]}}}}"#))
        };
        assert!(with("http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient").is_ok());
        let own = "https://example.org/fhir/StructureDefinition/own";
        assert_eq!(with(own).unwrap_err(), Defect::UnknownProfile(own.into()));
    }

    #[test]
    fn elements_keep_what_is_mandatory_and_mark_the_part() {
        let whole = read(
            r#"{"resourceType":"Patient","id":"a","active":true,"gender":"other","_gender":{"id":"1"}}"#,
        )
        .unwrap();
        let part = elements(&whole.stamped("a", 1, at()), &["gender"]);
        let part: serde_json::Value = serde_json::from_str(part.get()).unwrap();
        assert_eq!(part["meta"]["tag"][0]["code"], "SUBSETTED");
        assert_eq!(part["gender"], "other");
        assert_eq!(part["_gender"]["id"], "1");
        assert!(part.get("active").is_none());
    }
}
