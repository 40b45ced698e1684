//! The senders' shapes of a request with a body, once it is JSON or can be made JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bundle::{self, Items};
use super::intake::Notification;
use super::media::Media;
use super::path::Target;
use crate::answer::BundleAnswer;
use crate::delivery::{Addressed, Delivery, Key};
use crate::validate::Validator;
use crate::verdict::{BadRequest, Issue, Severity, Verdict};

/// A body and what its head says of it.
pub struct Content {
    pub media: Media,
    pub content_type: Option<String>,
    /// The CDR's version in `If-Match`: all that tells the version of a raw Binary
    pub version_id: Option<String>,
    pub bytes: Bytes,
}

/// The top of a resource, as far as a shape can be told from it.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<&'a RawValue>,
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    entry: Option<&'a RawValue>,
}

/// `PUT {base}/{Type}/{id}`
pub fn put(key: Key, content: Content, validator: &Validator) -> Result<Delivery, Verdict> {
    let addressed = Addressed::to(&key);
    if content.bytes.is_empty() {
        return Err(Verdict::BadRequest(BadRequest::NoBody));
    }
    let as_fhir = match content.media {
        Media::FhirJson | Media::FhirXml => true,
        Media::MaybeJson | Media::MaybeXml if key.resource_type() != "Binary" => true,
        // HAPI sends a Binary as the bytes it holds, under their own type, which may be JSON or XML too.
        _ if key.resource_type() == "Binary" => is_binary_resource(&content),
        _ => return Err(Verdict::UnsupportedMediaType("the body is neither FHIR JSON nor FHIR XML")),
    };
    let (json, verbatim) =
        if as_fhir { json(content, validator)? } else { (wrap_binary(&key, &content), false) };
    Ok(Delivery::Upsert { addressed, json, verbatim })
}

/// `POST {base}` or `POST {base}/{Type}`
pub fn post(target: &Target, content: Content, validator: &Validator) -> Result<Notification, Verdict> {
    let bad = |what| Err(Verdict::BadRequest(what));
    if content.bytes.trim_ascii().is_empty() {
        return bad(BadRequest::NoPayload);
    }
    if matches!(content.media, Media::Form | Media::Other) {
        return Err(Verdict::UnsupportedMediaType("the body is neither FHIR JSON nor FHIR XML"));
    }
    let (json, verbatim) = json(content, validator)?;
    let top: Top<'_> = serde_json::from_slice(&json).map_err(|error| malformed(&error))?;
    let Some(resource_type) = text(top.resource_type) else { return bad(BadRequest::NoResourceType) };
    if let (Target::Base, "Bundle") = (target, &*resource_type) {
        let kind = text(top.kind).unwrap_or_default();
        match bundle::items(&json, &kind, top.entry)? {
            Items::Entries(answer, items) => return Ok(Notification::Bundle(answer, items)),
            // A document or a collection is a resource like any other.
            Items::Resource if top.id.is_some() => {}
            Items::Resource => return bad(BadRequest::BadBundle),
        }
    }
    let resource_type = match target {
        Target::Type(stated) => Some(stated.clone()),
        _ => None,
    };
    let addressed = Addressed { resource_type, id: None };
    Ok(Notification::One(Delivery::Upsert { addressed, json, verbatim }))
}

/// The body as JSON, and whether it is as it came.
fn json(content: Content, validator: &Validator) -> Result<(Bytes, bool), Verdict> {
    let xml = match content.media {
        Media::FhirXml => true,
        Media::FhirJson => false,
        _ => content.bytes.trim_ascii_start().starts_with(b"<"),
    };
    if xml { Ok((validator.xml_to_json(&content.bytes)?.into(), false)) } else { Ok((content.bytes, true)) }
}

fn is_binary_resource(content: &Content) -> bool {
    match content.media {
        Media::FhirJson | Media::FhirXml => true,
        Media::MaybeJson => serde_json::from_slice::<Top<'_>>(&content.bytes)
            .is_ok_and(|top| text(top.resource_type).as_deref() == Some("Binary")),
        Media::MaybeXml => {
            let head = &content.bytes[..content.bytes.len().min(1024)];
            let head = String::from_utf8_lossy(head);
            head.contains("<Binary") && head.contains("http://hl7.org/fhir")
        }
        _ => false,
    }
}

/// The Binary resource around raw bytes: `data` is their base64. Its version goes where the order looks for it.
fn wrap_binary(key: &Key, content: &Content) -> Bytes {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta<'a> {
        version_id: &'a str,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Binary<'a> {
        resource_type: &'static str,
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<Meta<'a>>,
        content_type: &'a str,
        data: String,
    }
    let binary = Binary {
        resource_type: "Binary",
        id: key.id(),
        meta: content.version_id.as_deref().map(|version_id| Meta { version_id }),
        content_type: content.content_type.as_deref().unwrap_or("application/octet-stream"),
        data: STANDARD.encode(&content.bytes),
    };
    serde_json::to_vec(&binary).expect("strings always serialize").into()
}

/// The value of a JSON string, without an owned copy where it has no escapes.
pub(super) fn text(value: Option<&RawValue>) -> Option<std::borrow::Cow<'_, str>> {
    let raw = value?.get();
    serde_json::from_str::<&str>(raw)
        .map(Into::into)
        .or_else(|_| serde_json::from_str::<String>(raw).map(Into::into))
        .ok()
}

/// serde_json's own text may quote the payload; its place does not.
pub(super) fn malformed(error: &serde_json::Error) -> Verdict {
    let text = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends early",
        serde_json::error::Category::Data => "not an object with the fields of a resource, each once",
        _ => "not JSON",
    };
    Verdict::Invalid {
        malformed: true,
        issues: vec![Issue {
            severity: Severity::Error,
            code: "structure".into(),
            diagnostics: format!("{text} at line {} column {}", error.line(), error.column()),
            expression: None,
        }],
    }
}

/// A handshake's or heartbeat's answer, for senders that look at it.
pub const NOTIFICATION_ANSWER: BundleAnswer = BundleAnswer::Batch;
