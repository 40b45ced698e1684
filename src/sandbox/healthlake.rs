//! HealthLake's interactions, each a function of the store, the call and the time.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, Level, Target, Unroutable};
use super::resource::{Defect, Draft, Expected};
use super::store::{Condition, Interaction, Refused, Store, Written};
use super::{Config, bundle, search, types};

/// The answer to a call whose signature is right, the effect included.
pub(super) fn answer(config: &Config, store: &mut Store, call: &Call, now: Timestamp) -> Answer {
    match route(config, store, call, now) {
        Ok(answer) | Err(answer) => answer,
    }
}

fn route(config: &Config, store: &mut Store, call: &Call, now: Timestamp) -> Result<Answer, Answer> {
    if Target::datastore(&call.path).is_some_and(|id| id != config.datastore_id) {
        let message = "The data store could not be found.";
        return Err(Answer::aws(StatusCode::NOT_FOUND, "ResourceNotFoundException", message));
    }
    let target = Target::of(&call.path).map_err(unroutable)?;
    if call.asks_too_much() {
        return Err(Answer::unsupported_interaction());
    }
    match (call.method.as_str(), &target) {
        ("GET", Target::Metadata) => Ok(metadata(config)),
        ("POST", Target::Base) => bundle::process(config, store, call, now),
        ("PUT", Target::Instance(kind, id)) if call.query.is_empty() => {
            supported(config, kind)?;
            let draft = draft(config, call.level()?, &call.body, kind, Some(id))?;
            put(store, (kind, id), &draft, &call.condition(), now).map(|written| stored(&written))
        }
        ("POST", Target::Type(kind)) => {
            supported(config, kind)?;
            let draft = draft(config, call.level()?, &call.body, kind, None)?;
            let key = call.idempotency_key().map(str::to_owned);
            if let Some(first) = key.as_ref().and_then(|key| store.created.get(key)) {
                return Err(Answer::duplicate(format!("{}/{first}", call.base())));
            }
            let (id, written) = create(store, kind, &draft, now)?;
            if let Some(key) = key {
                store.created.insert(key, format!("{kind}/{id}"));
            }
            Ok(stored(&written))
        }
        ("DELETE", Target::Instance(kind, id)) => {
            supported(config, kind)?;
            delete(config, store, (kind, id), &call.condition(), now)?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("GET", Target::Instance(kind, id)) => {
            supported(config, kind)?;
            read(store, kind, id)
        }
        ("GET", Target::Version(kind, id, version)) => {
            supported(config, kind)?;
            read_version(store, kind, id, version)
        }
        ("GET", Target::History(kind, id)) => {
            supported(config, kind)?;
            search::history(config, store, call, (kind, id), now)
        }
        ("GET", Target::Type(kind)) => {
            supported(config, kind)?;
            search::search(config, store, call, kind, now)
        }
        ("POST", Target::Search(kind)) => {
            supported(config, kind)?;
            search::search(config, store, call, kind, now)
        }
        _ => Err(Answer::unsupported_interaction()),
    }
}

fn unroutable(reason: Unroutable) -> Answer {
    match reason {
        Unroutable::NotHealthLake => {
            Answer::aws(StatusCode::NOT_FOUND, "UnknownOperationException", "Not found")
        }
        Unroutable::BadType(kind) => Answer::bad_parameter("resourceType", &kind, "[A-Za-z]{1,256}"),
        Unroutable::BadId(id) => Answer::bad_parameter("id", &id, "[A-Za-z0-9-.]{1,64}"),
        Unroutable::NotSupported => Answer::unsupported_interaction(),
    }
}

pub(super) fn supported(config: &Config, kind: &str) -> Result<(), Answer> {
    if types::is_supported(kind, &config.unsupported_types) {
        Ok(())
    } else {
        Err(Answer::unsupported_type(kind))
    }
}

/// The body as it may be stored, or why not.
pub(super) fn draft(
    config: &Config,
    level: Level,
    body: &[u8],
    kind: &str,
    id: Option<&str>,
) -> Result<Draft, Answer> {
    let known_profiles_only = config.strict_profiles && level == Level::Strict;
    Draft::read(body, &Expected { kind, id, known_profiles_only }).map_err(|defect| match defect {
        Defect::Malformed => Answer::bad_request("Invalid JSON found in input file"),
        Defect::BadMeta => Answer::invalid(&format!("Element '{kind}.meta': the content is not that of a Meta")),
        Defect::NoType => Answer::bad_request("Missing required resourceType field in resource json"),
        Defect::NoId => Answer::bad_request("Missing required id field in resource json"),
        Defect::BadId(id) => Answer::bad_parameter("id", &id, "[A-Za-z0-9-.]{1,64}"),
        Defect::OtherType(other) => {
            Answer::bad_request(&format!("ResourceType {other} in payload does not match {kind} in the request URL"))
        }
        Defect::OtherId(other) => {
            let asked = id.unwrap_or_default();
            Answer::bad_request(&format!("Resource id {other} in payload does not match {asked} in the request URL"))
        }
        Defect::UnknownProfile(url) => Answer::invalid(&format!(
            "Profile reference '{url}' has not been checked because it is unknown, and the validator is set to not \
             fetch unknown profiles"
        )),
    })
}

pub(super) fn put(
    store: &mut Store,
    key: (&str, &str),
    draft: &Draft,
    condition: &Condition,
    now: Timestamp,
) -> Result<Written, Answer> {
    if types::is_append_only(key.0) {
        return Err(Answer::unsupported_interaction());
    }
    store.put(key, draft, Interaction::Update, condition, now).map_err(|refused| not_done(&refused, key))
}

/// The new id, and what was written.
pub(super) fn create(
    store: &mut Store,
    kind: &str,
    draft: &Draft,
    now: Timestamp,
) -> Result<(String, Written), Answer> {
    let id = Uuid::new_v4().to_string();
    let written = store.put((kind, &id), draft, Interaction::Create, &Condition::default(), now);
    let written = written.map_err(|refused| not_done(&refused, (kind, &id)))?;
    Ok((id, written))
}

/// None: it was deleted already, and the setting says that this is all right.
pub(super) fn delete(
    config: &Config,
    store: &mut Store,
    key: (&str, &str),
    condition: &Condition,
    now: Timestamp,
) -> Result<Option<Written>, Answer> {
    if types::is_append_only(key.0) {
        return Err(Answer::unsupported_interaction());
    }
    match (store.delete(key, condition, now), config.deleted_again_status) {
        (Ok(written), _) => Ok(Some(written)),
        (Err(Refused::Deleted), 204) => Ok(None),
        (Err(Refused::Deleted), 404) => Err(not_done(&Refused::Unknown, key)),
        (Err(refused), _) => Err(not_done(&refused, key)),
    }
}

fn not_done(refused: &Refused, (kind, id): (&str, &str)) -> Answer {
    match refused {
        Refused::Precondition => Answer::outcome(
            StatusCode::PRECONDITION_FAILED,
            "exception",
            "Resource was modified by another operation. Retry the request.",
        ),
        Refused::Unknown => not_found(kind, id),
        Refused::Deleted => gone(kind, id),
    }
}

fn not_found(kind: &str, id: &str) -> Answer {
    Answer::outcome(StatusCode::NOT_FOUND, "not-found", &format!("Resource {kind}/{id} is not known"))
}

fn gone(kind: &str, id: &str) -> Answer {
    Answer::outcome(StatusCode::GONE, "deleted", &format!("Resource {kind}/{id} was deleted"))
}

fn stored(written: &Written) -> Answer {
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let body = written.json.as_ref().map_or_else(String::new, |json| json.get().to_owned());
    Answer::fhir(status, body).with_etag(written.version)
}

pub(super) fn read(store: &Store, kind: &str, id: &str) -> Result<Answer, Answer> {
    let newest = store.get(kind, id).ok_or_else(|| not_found(kind, id))?.newest();
    let json = newest.json.as_ref().ok_or_else(|| gone(kind, id))?;
    Ok(Answer::fhir(StatusCode::OK, json.get().to_owned()).with_etag(newest.number))
}

fn read_version(store: &Store, kind: &str, id: &str, version: &str) -> Result<Answer, Answer> {
    let entry = store.get(kind, id).ok_or_else(|| not_found(kind, id))?;
    let asked = version.parse::<u64>().ok();
    let found = entry.versions().iter().find(|known| Some(known.number) == asked);
    let found = found.ok_or_else(|| not_found(kind, &format!("{id}/_history/{version}")))?;
    let json = found.json.as_ref().ok_or_else(|| gone(kind, id))?;
    Ok(Answer::fhir(StatusCode::OK, json.get().to_owned()).with_etag(found.number))
}

fn metadata(config: &Config) -> Answer {
    let resources: Vec<Value> = types::supported(&config.unsupported_types)
        .map(|kind| {
            let interactions: &[&str] = if types::is_append_only(kind) {
                &["create", "read", "vread", "history-instance", "search-type"]
            } else {
                &["create", "read", "vread", "update", "delete", "history-instance", "search-type"]
            };
            let interaction: Vec<Value> = interactions.iter().map(|code| json!({"code": code})).collect();
            let parameters: Vec<Value> = [("_id", "token"), ("_lastUpdated", "date")]
                .map(|(name, kind)| json!({"name": name, "type": kind}))
                .into();
            json!({
                "type": kind, "interaction": interaction, "versioning": "versioned",
                "readHistory": true, "updateCreate": !types::is_append_only(kind), "searchParam": parameters,
            })
        })
        .collect();
    let statement = json!({
        "resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance",
        "software": {"name": "lakehook sandbox, a stand-in for AWS HealthLake"},
        "implementation": {"description": "lakehook sandbox"},
        "fhirVersion": "4.0.1", "format": ["json"],
        "rest": [{
            "mode": "server", "resource": resources,
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
        }],
    });
    Answer::fhir(StatusCode::OK, statement.to_string())
}
