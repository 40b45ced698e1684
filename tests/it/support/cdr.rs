//! A small CDR that can be searched as HAPI can: `_lastUpdated`, `_sort`, `_count`, `_summary=count`, pages. With what
//! real ones do to a reader: pages that shift, searches that expire, updates between two pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

#[derive(Clone)]
pub struct SmallCdr {
    pub url: String,
    state: Arc<Mutex<Store>>,
}

struct Store {
    /// `Type/id`
    resources: BTreeMap<String, Stored>,
    clock: Timestamp,
    /// Snapshot searches by number, as HAPI keeps them; without, a page is an offset into what there is now.
    snapshots: Option<Vec<Vec<String>>>,
    url: String,
    /// Search requests, for what a resumed run repeats
    pub searches: Vec<String>,
    /// The next so many later pages are answered 410.
    expire: usize,
    /// Updated before the next so many later pages are made
    update_between: Vec<String>,
    unavailable: usize,
}

#[derive(Clone)]
struct Stored {
    version: u32,
    at: Timestamp,
    /// The rest of the resource
    body: Value,
}

impl SmallCdr {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        let store = Store {
            resources: BTreeMap::new(),
            clock: "2026-01-01T00:00:00Z".parse().unwrap(),
            snapshots: None,
            url: url.clone(),
            searches: Vec::new(),
            expire: 0,
            update_between: Vec::new(),
            unavailable: 0,
        };
        let cdr = Self { url, state: Arc::new(Mutex::new(store)) };
        let routes = axum::Router::new()
            .route("/fhir/metadata", axum::routing::get(metadata))
            .route("/fhir/{type}", axum::routing::get(search))
            .route("/fhir/{type}/{id}", axum::routing::get(read))
            .with_state(cdr.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        cdr
    }

    /// Searches are kept for their later pages.
    pub fn with_snapshots(self) -> Self {
        self.state.lock().unwrap().snapshots = Some(Vec::new());
        self
    }

    /// Creates or updates; each write is `apart` later than the one before.
    pub fn put_after(&self, key: &str, body: Value, apart: SignedDuration) -> u32 {
        let mut state = self.state.lock().unwrap();
        state.clock += apart;
        state.write(key, body)
    }

    pub fn put(&self, key: &str, body: Value) -> u32 {
        self.put_after(key, body, SignedDuration::from_secs(60))
    }

    pub fn delete(&self, key: &str) {
        self.state.lock().unwrap().resources.remove(key);
    }

    /// As a delivery would carry it.
    pub fn json(&self, key: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        state.resources.get(key).map(|stored| stored.json(key).to_string())
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().resources.keys().cloned().collect()
    }

    pub fn searches(&self) -> Vec<String> {
        self.state.lock().unwrap().searches.clone()
    }

    pub fn expire(&self, pages: usize) {
        self.state.lock().unwrap().expire = pages;
    }

    pub fn unavailable(&self, requests: usize) {
        self.state.lock().unwrap().unavailable = requests;
    }

    /// Each is updated before one of the next later pages is made.
    pub fn update_between_pages(&self, keys: &[&str]) {
        self.state.lock().unwrap().update_between = keys.iter().map(|key| (*key).to_owned()).collect();
    }
}

impl Store {
    fn write(&mut self, key: &str, body: Value) -> u32 {
        let version = self.resources.get(key).map_or(1, |stored| stored.version + 1);
        let at = self.clock;
        self.resources.insert(key.to_owned(), Stored { version, at, body });
        version
    }

    fn found(&self, kind: &str, query: &[(String, String)]) -> Vec<String> {
        let mut found: Vec<(&String, &Stored)> =
            self.resources.iter().filter(|(key, _)| key.split('/').next() == Some(kind)).collect();
        for (name, value) in query {
            if name == "_lastUpdated" {
                let at: Timestamp = value[2..].parse().unwrap();
                found.retain(|(_, stored)| match &value[..2] {
                    "ge" => stored.at >= at,
                    "lt" => stored.at < at,
                    other => panic!("{other}"),
                });
            }
        }
        match query.iter().find(|(name, _)| name == "_sort").map(|(_, value)| value.as_str()) {
            Some("_lastUpdated") => found.sort_by_key(|(_, stored)| stored.at),
            Some("-_lastUpdated") => found.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.at)),
            _ => {}
        }
        found.into_iter().map(|(key, _)| key.clone()).collect()
    }

    fn bundle(&self, keys: &[String], total: Option<usize>, next: Option<String>) -> Response {
        let entries: Vec<Value> = keys
            .iter()
            .filter_map(|key| {
                let resource = self.resources.get(key)?.json(key);
                Some(json!({ "fullUrl": format!("{}/{key}", self.url), "resource": resource, "search": { "mode": "match" } }))
            })
            .collect();
        let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries });
        if let Some(total) = total {
            bundle["total"] = total.into();
        }
        if let Some(next) = next {
            bundle["link"] = json!([{ "relation": "next", "url": next }]);
        }
        axum::Json(bundle).into_response()
    }
}

impl Stored {
    fn json(&self, key: &str) -> Value {
        let (kind, id) = key.split_once('/').unwrap();
        let mut resource = json!({
            "resourceType": kind,
            "id": id,
            "meta": { "versionId": self.version.to_string(), "lastUpdated": self.at.to_string() },
        });
        for (name, value) in self.body.as_object().unwrap() {
            resource[name] = value.clone();
        }
        resource
    }
}

async fn metadata(State(cdr): State<SmallCdr>) -> Response {
    let state = cdr.state.lock().unwrap();
    let kinds: std::collections::BTreeSet<&str> =
        state.resources.keys().filter_map(|key| key.split('/').next()).chain(["Slot"]).collect();
    let resources: Vec<Value> = kinds.into_iter().map(|kind| json!({ "type": kind })).collect();
    axum::Json(json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{ "mode": "server", "resource": resources }] }))
        .into_response()
}

async fn read(State(cdr): State<SmallCdr>, Path((kind, id)): Path<(String, String)>) -> Response {
    match cdr.json(&format!("{kind}/{id}")) {
        Some(json) => (StatusCode::OK, json).into_response(),
        None => StatusCode::GONE.into_response(),
    }
}

async fn search(
    State(cdr): State<SmallCdr>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let mut state = cdr.state.lock().unwrap();
    state.searches.push(format!("{kind}?{query}"));
    if state.unavailable > 0 {
        state.unavailable -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let parameters: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let get = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let number = |name: &str| get(name).and_then(|value| value.parse::<usize>().ok());
    if get("_summary").as_deref() == Some("count") {
        let total = state.found(&kind, &parameters).len();
        return state.bundle(&[], Some(total), None);
    }
    let (offset, count) = (number("offset").unwrap_or(0), number("_count").unwrap_or(20));
    if offset > 0 {
        if state.expire > 0 {
            state.expire -= 1;
            return StatusCode::GONE.into_response();
        }
        if let Some(key) = state.update_between.pop() {
            state.clock += SignedDuration::from_secs(60);
            state.write(&key, json!({ "active": false }));
        }
    }
    let (all, snapshot) = match (number("search"), state.snapshots.is_some()) {
        (Some(at), true) => (state.snapshots.as_ref().unwrap()[at].clone(), Some(at)),
        (_, true) => {
            let found = state.found(&kind, &parameters);
            let snapshots = state.snapshots.as_mut().unwrap();
            snapshots.push(found.clone());
            (found, Some(snapshots.len() - 1))
        }
        (_, false) => (state.found(&kind, &parameters), None),
    };
    let page: Vec<String> = all.iter().skip(offset).take(count).cloned().collect();
    let next = (offset + count < all.len()).then(|| {
        let kept: Vec<String> = parameters
            .iter()
            .filter(|(name, _)| !["offset", "search", "_total"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let snapshot = snapshot.map(|at| format!("&search={at}")).unwrap_or_default();
        format!("{}/{kind}?{}&offset={}{snapshot}", state.url, kept.join("&"), offset + count)
    });
    let total = (get("_total").is_some() && offset == 0).then_some(all.len());
    state.bundle(&page, total, next)
}
