//! Search by type, and an id's history: paged, and as late as the setting says.

use std::sync::Arc;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Config;
use super::answer::Answer;
use super::call::Call;
use super::parameters::{Parameters, Position};
use super::resource::{elements, instant};
use super::store::{Entry, Interaction, Store, Version};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_type: &'static str,
    id: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    link: Vec<Link>,
    entry: Vec<BundleEntry>,
}

#[derive(Serialize)]
struct Link {
    relation: &'static str,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleEntry {
    full_url: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_it_is")]
    resource: Option<Arc<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response>,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
}

#[derive(Serialize)]
struct Request {
    method: &'static str,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: &'static str,
    etag: String,
    last_modified: String,
}

fn as_it_is<S: serde::Serializer>(json: &Option<Arc<RawValue>>, serializer: S) -> Result<S::Ok, S::Error> {
    json.as_deref().serialize(serializer)
}

impl Bundle {
    fn answer(&self) -> Answer {
        match serde_json::to_string(self) {
            Ok(json) => Answer::fhir(StatusCode::OK, json),
            Err(_) => {
                Answer::aws(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException", "Cannot write")
            }
        }
    }
}

pub(super) fn search(
    config: &Config,
    store: &Store,
    call: &Call,
    kind: &str,
    now: Timestamp,
) -> Result<Answer, Answer> {
    let parameters = parameters(call)?;
    let (mut found, mut total) = (Vec::new(), 0);
    // Of a large store only the page is looked at, where that can be.
    let from =
        parameters.after.as_ref().filter(|_| parameters.reads_on()).map_or("", |after| after.id.as_str());
    for (id, entry) in store.of_type(kind, from) {
        if parameters.reads_on() && found.len() > parameters.count {
            break;
        }
        let Indexed { shown, counted } = Indexed::of(entry, config, call.is_strong(), now);
        let position = |version: &Version| Position { id: id.clone(), at: version.at };
        if counted.is_some_and(|version| parameters.matches(&position(version))) {
            total += 1;
        }
        if let Some(version) = shown
            && let Some(json) = &version.json
        {
            let position = position(version);
            let behind = parameters.after.as_ref().is_none_or(|at| parameters.order(&position, at).is_gt());
            if behind && parameters.matches(&position) {
                found.push((position, json));
            }
        }
    }
    let more = found.len() > parameters.count;
    if more {
        found.select_nth_unstable_by(parameters.count, |(a, _), (b, _)| parameters.order(a, b));
        found.truncate(parameters.count);
    }
    found.sort_unstable_by(|(a, _), (b, _)| parameters.order(a, b));

    let base = format!("{}/{kind}", call.base());
    let mut link = vec![Link { relation: "self", url: format!("{base}?{}", parameters.link(None)) }];
    if more && let Some((last, _)) = found.last() {
        link.push(Link { relation: "next", url: format!("{base}?{}", parameters.link(Some(last))) });
    }
    let entry = found.into_iter().map(|(position, json)| BundleEntry {
        full_url: format!("{base}/{}", position.id),
        resource: Some(match &parameters.elements {
            Some(wanted) => elements(json, &wanted.iter().map(String::as_str).collect::<Vec<_>>()),
            None => json.clone(),
        }),
        search: Some(Mode { mode: "match" }),
        request: None,
        response: None,
    });
    let bundle = Bundle {
        resource_type: "Bundle",
        id: Uuid::new_v4().to_string(),
        r#type: "searchset",
        total: parameters.total.then_some(total),
        link,
        entry: entry.collect(),
    };
    Ok(bundle.answer())
}

fn parameters(call: &Call) -> Result<Parameters, Answer> {
    let form = std::str::from_utf8(&call.body).unwrap_or("");
    let read = match (call.method == Method::POST, form.is_empty(), call.query.is_empty()) {
        (true, false, true) => Parameters::of_form(form),
        (true, false, false) => {
            Err("Search parameters stand in the body or in the query, not in both".into())
        }
        _ => Parameters::of_query(&call.query),
    };
    read.map_err(|text| Answer::bad_request(&text))
}

/// What search knows of an id at a time.
struct Indexed<'a> {
    shown: Option<&'a Version>,
    /// A deletion is noticed late by the count.
    counted: Option<&'a Version>,
}

impl<'a> Indexed<'a> {
    fn of(entry: &'a Entry, config: &Config, strong: bool, now: Timestamp) -> Self {
        let newest = entry.newest();
        let previous = entry.versions().iter().rev().nth(1);
        if newest.at + config.search_lag <= now {
            let shown = newest.json.is_some().then_some(newest);
            return Self { shown, counted: shown };
        }
        match (&newest.json, strong) {
            (None, _) => Self { shown: None, counted: previous },
            (Some(_), false) => Self { shown: None, counted: None },
            (Some(_), true) => {
                let shown = previous.filter(|version| version.json.is_some());
                Self { shown, counted: shown }
            }
        }
    }
}

/// All versions of an id, the newest first, deletions included; late, also where strong consistency is asked.
pub(super) fn history(
    config: &Config,
    store: &Store,
    call: &Call,
    (kind, id): (&str, &str),
    now: Timestamp,
) -> Result<Answer, Answer> {
    let parameters = Parameters::of_query(&call.query).map_err(|text| Answer::bad_request(&text))?;
    let entry = store.get(kind, id).ok_or_else(|| {
        Answer::outcome(StatusCode::NOT_FOUND, "not-found", &format!("Resource {kind}/{id} is not known"))
    })?;
    let before = parameters.after.as_ref().map(|position| position.at);
    let known = entry.versions().iter().rev().filter(|version| version.at + config.search_lag <= now);
    let total = known.clone().count();
    let mut page: Vec<&Version> =
        known.filter(|version| before.is_none_or(|before| version.at < before)).collect();
    let more = page.len() > parameters.count;
    page.truncate(parameters.count);

    let url = format!("{}/{kind}/{id}", call.base());
    let mut link = vec![Link { relation: "self", url: format!("{url}/_history?{}", parameters.link(None)) }];
    if more && let Some(last) = page.last() {
        let last = Position { id: id.to_owned(), at: last.at };
        link.push(Link { relation: "next", url: format!("{url}/_history?{}", parameters.link(Some(&last))) });
    }
    let entry = page.into_iter().map(|version| {
        let (method, status) = match version.interaction {
            Interaction::Create => ("POST", "201"),
            Interaction::Update => ("PUT", if version.number == 1 { "201" } else { "200" }),
            Interaction::Delete => ("DELETE", "204"),
        };
        BundleEntry {
            full_url: url.clone(),
            resource: version.json.clone(),
            search: None,
            request: Some(Request { method, url: format!("{kind}/{id}") }),
            response: Some(Response {
                status,
                etag: format!("W/\"{}\"", version.number),
                last_modified: instant(version.at),
            }),
        }
    });
    let bundle = Bundle {
        resource_type: "Bundle",
        id: Uuid::new_v4().to_string(),
        r#type: "history",
        total: Some(total),
        link,
        entry: entry.collect(),
    };
    Ok(bundle.answer())
}
