//! Bundles posted to the base: `batch`, each entry for itself, and `transaction`, all or nothing.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Config;
use super::answer::Answer;
use super::call::{Call, Level, etag};
use super::healthlake::{create, delete, draft, put, read, supported};
use super::resource::instant;
use super::store::{Condition, Store, Written};
use super::types;

const ENTRIES: usize = 100;

#[derive(Deserialize)]
struct Bundle<'a> {
    r#type: String,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    request: Option<EntryRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryRequest {
    method: String,
    url: String,
    if_match: Option<String>,
    if_none_match: Option<String>,
}

/// Whether `call` posts a transaction, which costs twice.
pub(super) fn is_transaction(call: &Call) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    call.method == Method::POST
        && call.path.trim_end_matches('/').ends_with("/r4")
        && serde_json::from_slice::<Kind>(&call.body).is_ok_and(|bundle| bundle.r#type == "transaction")
}

pub(super) fn process(
    config: &Config,
    store: &mut Store,
    call: &Call,
    now: Timestamp,
) -> Result<Answer, Answer> {
    let level = call.level()?;
    let bundle: Bundle<'_> = serde_json::from_slice(&call.body)
        .map_err(|_| Answer::bad_request("Invalid JSON found in input file"))?;
    if bundle.entry.len() > ENTRIES {
        let text = format!("A Bundle has at most {ENTRIES} entries, this one has {}", bundle.entry.len());
        return Err(Answer::outcome(StatusCode::UNPROCESSABLE_ENTITY, "processing", &text));
    }
    let each = |store: &mut Store, entry: &Entry<'_>| one(config, store, level, entry, now);
    let entries: Vec<Value> = match bundle.r#type.as_str() {
        "batch" => {
            bundle.entry.iter().map(|entry| each(store, entry).unwrap_or_else(|no| failed(&no))).collect()
        }
        "transaction" => {
            no_key_twice(&bundle.entry)?;
            store.atomically(|store| {
                bundle.entry.iter().map(|entry| each(store, entry)).collect::<Result<_, _>>()
            })?
        }
        other => return Err(Answer::bad_request(&format!("A Bundle of type {other} cannot be processed"))),
    };
    let response =
        json!({"resourceType": "Bundle", "type": format!("{}-response", bundle.r#type), "entry": entries});
    Ok(Answer::fhir(StatusCode::OK, response.to_string()))
}

fn no_key_twice(entries: &[Entry<'_>]) -> Result<(), Answer> {
    let mut seen = std::collections::HashSet::new();
    for request in entries.iter().filter_map(|entry| entry.request.as_ref()) {
        if ["PUT", "DELETE"].contains(&request.method.as_str()) && !seen.insert(&request.url) {
            let text = format!("Transaction failed: conflict detected on resource {}", request.url);
            return Err(Answer::outcome(StatusCode::CONFLICT, "exception", &text));
        }
    }
    Ok(())
}

fn one(
    config: &Config,
    store: &mut Store,
    level: Level,
    entry: &Entry<'_>,
    now: Timestamp,
) -> Result<Value, Answer> {
    let request =
        entry.request.as_ref().ok_or_else(|| Answer::bad_request("A Bundle entry has no request"))?;
    let body = entry.resource.map_or("", |resource| resource.get()).as_bytes();
    let (kind, id) = match request.url.trim_start_matches('/').split_once('/') {
        Some((kind, id)) => (kind, Some(id)),
        None => (request.url.as_str(), None),
    };
    if !types::is_type_name(kind) {
        return Err(Answer::bad_parameter("resourceType", kind, "[A-Za-z]{1,256}"));
    }
    if let Some(id) = id.filter(|id| !types::is_id(id)) {
        return Err(Answer::bad_parameter("id", id, "[A-Za-z0-9-.]{1,64}"));
    }
    supported(config, kind)?;
    let condition = Condition {
        if_match: request.if_match.as_deref().map(etag),
        if_none_match: request.if_none_match.as_deref() == Some("*"),
    };
    match (request.method.as_str(), id) {
        ("PUT", Some(id)) => {
            let draft = draft(config, level, body, kind, Some(id))?;
            put(store, (kind, id), &draft, &condition, now).map(|written| done(&written, kind, id))
        }
        ("POST", None) => {
            let draft = draft(config, level, body, kind, None)?;
            create(store, kind, &draft, now).map(|(id, written)| done(&written, kind, &id))
        }
        ("DELETE", Some(id)) => {
            delete(config, store, (kind, id), &condition, now)?;
            Ok(json!({"response": {"status": "204"}}))
        }
        ("GET", Some(id)) => {
            let answer = read(store, kind, id)?;
            // Through a tree: numbers may be spelt anew here, as in no other answer.
            let resource: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            Ok(json!({"resource": resource, "response": {"status": "200"}}))
        }
        _ => Err(Answer::unsupported_interaction()),
    }
}

fn done(written: &Written, kind: &str, id: &str) -> Value {
    let status = if written.created { "201" } else { "200" };
    let version = written.version;
    json!({"response": {
        "status": status, "etag": format!("W/\"{version}\""), "lastModified": instant(written.at),
        "location": format!("{kind}/{id}/_history/{version}"),
    }})
}

fn failed(answer: &Answer) -> Value {
    let outcome: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    json!({"response": {"status": answer.status.as_str(), "outcome": outcome}})
}
