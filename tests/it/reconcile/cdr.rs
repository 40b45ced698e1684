//! A CDR in the test: versions, deletes, searches by type and time with pages, counts, reads, history, bulk export.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// No report, page or log may have it.
pub const MARK: &str = "MARK-of-a-patient";
/// Contents from here on have a label of confidentiality: R.
pub const RESTRICTED: u64 = 1000;
const PAGE: usize = 50;

#[derive(Clone, Default)]
struct Version {
    at: i64,
    /// None: deleted
    content: Option<u64>,
}

/// What a search found, in its order, until something is written.
type Found = BTreeMap<(String, i64, i64), Arc<Vec<(i64, String)>>>;

#[derive(Clone, Default)]
pub struct TestCdr {
    resources: Arc<Mutex<BTreeMap<String, Vec<Version>>>>,
    found: Arc<Mutex<Found>>,
    pub bulk: Arc<Mutex<Bulk>>,
    requests: Arc<Mutex<Vec<String>>>,
    address: String,
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl TestCdr {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cdr = Self { address: listener.local_addr().unwrap().to_string(), ..Self::default() };
        let routes = axum::Router::new().fallback(answer).with_state(cdr.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        cdr
    }

    pub fn url(&self) -> String {
        format!("http://{}/fhir", self.address)
    }

    pub fn put(&self, key: &str, content: u64) {
        self.put_at(key, content, now());
    }

    pub fn put_at(&self, key: &str, content: u64, at: i64) {
        let mut resources = self.resources.lock().unwrap();
        resources.entry(key.into()).or_default().push(Version { at, content: Some(content) });
        self.found.lock().unwrap().clear();
    }

    pub fn delete(&self, key: &str) {
        let mut resources = self.resources.lock().unwrap();
        resources.get_mut(key).unwrap().push(Version { at: now(), content: None });
        self.found.lock().unwrap().clear();
    }

    /// The current version, None where it is deleted.
    pub fn json(&self, key: &str) -> Option<String> {
        let resources = self.resources.lock().unwrap();
        let versions = resources.get(key)?;
        json(key, versions, versions.len())
    }

    pub fn alive(&self) -> BTreeMap<String, String> {
        let keys: Vec<String> = self.resources.lock().unwrap().keys().cloned().collect();
        keys.into_iter().filter_map(|key| Some((key.clone(), self.json(&key)?))).collect()
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn search(&self, kind: &str, query: &str) -> String {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (mut count, mut offset, mut only_count) = (PAGE, 0, false);
        let (mut from, mut to) = (i64::MIN, i64::MAX);
        for (name, value) in &pairs {
            match (name.as_str(), value.as_str()) {
                ("_count", value) => count = value.parse::<usize>().unwrap().min(PAGE),
                ("_offset", value) => offset = value.parse().unwrap(),
                ("_summary", "count") => only_count = true,
                ("_sort", "_lastUpdated") => {}
                ("_lastUpdated", value) => {
                    let at = value[2..].parse::<jiff::Timestamp>().unwrap().as_millisecond();
                    match &value[..2] {
                        "ge" => from = at,
                        "lt" => to = at,
                        other => panic!("{other}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let resources = self.resources.lock().unwrap();
        let searched = (kind.to_owned(), from, to);
        let found = self
            .found
            .lock()
            .unwrap()
            .entry(searched)
            .or_insert_with(|| {
                let of_kind = resources.iter().filter(|(key, _)| key.split('/').next() == Some(kind));
                let alive = of_kind.filter_map(|(key, versions)| {
                    let Version { at, content } = versions.last().unwrap();
                    (content.is_some() && (from..to).contains(at)).then(|| (*at, key.clone()))
                });
                let mut found: Vec<_> = alive.collect();
                found.sort();
                Arc::new(found)
            })
            .clone();
        let total = found.len();
        if only_count {
            return json!({"resourceType": "Bundle", "type": "searchset", "total": total}).to_string();
        }
        let page: Vec<String> = found
            .iter()
            .skip(offset)
            .take(count)
            .map(|(_, key)| (key, &resources[key]))
            .map(|(key, versions)| json(key, versions, versions.len()).unwrap())
            .map(|json| format!(r#"{{"resource":{json},"search":{{"mode":"match"}}}}"#))
            .collect();
        let mut link = Vec::new();
        if offset + page.len() < total {
            let kept: Vec<String> = query
                .split('&')
                .filter(|pair| !pair.starts_with("_offset"))
                .map(str::to_owned)
                .chain([format!("_offset={}", offset + page.len())])
                .collect();
            let url = format!("{}/{kind}?{}", self.url(), kept.join("&"));
            link.push(json!({"relation": "next", "url": url}).to_string());
        }
        format!(
            r#"{{"resourceType":"Bundle","type":"searchset","link":[{}],"entry":[{}]}}"#,
            link.join(","),
            page.join(",")
        )
    }
}

/// With a decimal whose digits count, a narrative, and what a CDR adds itself.
fn json(key: &str, versions: &[Version], version: usize) -> Option<String> {
    let (kind, id) = key.split_once('/').unwrap();
    let Version { at, content } = versions.get(version.checked_sub(1)?)?;
    let content = (*content)?;
    let at = jiff::Timestamp::from_millisecond(*at).unwrap();
    let rest = match kind {
        "Patient" => format!(
            r#""active":true,"name":[{{"family":"{MARK} {content}"}}],"extension":[{{"url":"http://example.org/weight","valueDecimal":{content}.50}}]"#
        ),
        "Observation" => format!(
            r#""status":"final","code":{{"text":"{MARK}"}},"valueQuantity":{{"value":{content}.0,"unit":"mg"}}"#
        ),
        "CodeSystem" => r#""status":"draft","content":"complete""#.to_owned(),
        other => panic!("{other}"),
    };
    let security = match content {
        RESTRICTED.. => {
            r#","security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]"#
        }
        _ => "",
    };
    Some(format!(
        r##"{{"resourceType":"{kind}","id":"{id}","meta":{{"versionId":"{version}","lastUpdated":"{at:.3}","source":"#{version}"{security}}},{rest}}}"##
    ))
}

/// The state of its one bulk export.
#[derive(Default)]
pub struct Bulk {
    pub kicked_off: u32,
    looks: u32,
    pub deleted: u32,
}

/// `$export`, its status, its files, and the end of it, each asked for as the guide says.
fn bulk(cdr: &TestCdr, request: &Request, below: &str) -> Response {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("authorization"), Some("Bearer of-the-cdr"));
    let mut state = cdr.bulk.lock().unwrap();
    let parts: Vec<&str> = below.split('/').collect();
    match (request.method().as_str(), &parts[..]) {
        ("GET", ["$export"]) => {
            assert_eq!(header("prefer"), Some("respond-async"));
            assert!(request.uri().query().unwrap().contains("_outputFormat=application%2Ffhir%2Bndjson"));
            state.kicked_off += 1;
            let status = format!("{}/$export-status/1", cdr.url());
            (StatusCode::ACCEPTED, [("content-location", status)]).into_response()
        }
        ("GET", ["$export-status", "1"]) => {
            state.looks += 1;
            if state.looks < 3 {
                let headers = [("retry-after", "0"), ("x-progress", "under way")];
                return (StatusCode::ACCEPTED, headers).into_response();
            }
            let output: Vec<_> = ["Patient", "Observation"]
                .map(|kind| json!({"type": kind, "url": format!("{}/$export-file/{kind}", cdr.url())}))
                .to_vec();
            json!({"transactionTime": "2026-11-25T00:00:00Z", "requiresAccessToken": true, "output": output})
                .to_string()
                .into_response()
        }
        ("GET", ["$export-file", kind]) => {
            // A server that knows FHIR JSON hands out a Binary in it, unless told.
            assert_eq!(header("accept"), Some("application/fhir+ndjson"));
            let of_kind = |key: &str| key.split('/').next() == Some(kind);
            let lines: Vec<String> = cdr
                .alive()
                .into_iter()
                .filter(|(key, _)| of_kind(key))
                .map(|(_, json)| json + "\n")
                .collect();
            lines.concat().into_response()
        }
        ("DELETE", ["$export-status", "1"]) => {
            state.deleted += 1;
            StatusCode::ACCEPTED.into_response()
        }
        other => panic!("{other:?}"),
    }
}

async fn answer(State(cdr): State<TestCdr>, request: Request) -> Response {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or("").to_owned());
    cdr.requests.lock().unwrap().push(format!("{path}?{query}"));
    let below = path.strip_prefix("/fhir/").unwrap();
    if below.contains('$') {
        return bulk(&cdr, &request, below);
    }
    let parts: Vec<&str> = below.split('/').collect();
    let found = match parts[..] {
        ["metadata"] => {
            let types = ["CodeSystem", "Observation", "Patient"].map(|kind| json!({"type": kind}));
            let statement = json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
                "rest": [{"mode": "server", "resource": types}]});
            Some(statement.to_string())
        }
        [kind] => Some(cdr.search(kind, &query)),
        [kind, id] => cdr.json(&format!("{kind}/{id}")),
        [kind, id, "_history", version] => {
            let (key, resources) = (format!("{kind}/{id}"), cdr.resources.lock().unwrap());
            resources.get(&key).and_then(|versions| json(&key, versions, version.parse().unwrap()))
        }
        _ => None,
    };
    found.map_or(StatusCode::GONE.into_response(), IntoResponse::into_response)
}
