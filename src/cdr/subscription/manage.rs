//! Reading and writing the Subscriptions at the CDR.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::compare::{Change, is_ours, lay_over};
use super::shape::{ShapeError, wanted};
use super::{TAG_SYSTEM, Wanted, Wish};
use crate::cdr::{Capabilities, Cdr, CdrError};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("{what}: {source}{}", advice(source))]
    Cdr { what: String, source: CdrError },
}

impl SubscriptionError {
    /// What the CDR says of it, for a terminal.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Shape(_) => &[],
            Self::Cdr { source, .. } => source.texts(),
        }
    }
}

fn advice(source: &CdrError) -> &'static str {
    match source.status() {
        Some(401 | 403) => {
            "; lakehook must be allowed to read and write Subscriptions there (OAuth2: --cdr-oauth-scope)"
        }
        Some(409 | 412) => "; it was changed at the CDR meanwhile: do it again",
        Some(400 | 422) => "; the CDR refuses such a Subscription",
        Some(404 | 405) => "; does the CDR take Subscriptions at all?",
        _ => "",
    }
}

/// What has to be done for one Subscription.
#[derive(Debug)]
pub struct Step {
    wanted: Wanted,
    present: Option<Value>,
    /// What is to be written
    pub resource: Value,
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Nothing,
    Create,
    Update,
    /// There is one without lakehook's tag: it is somebody else's, or was made by hand.
    Foreign,
}

impl Step {
    /// `take_over` makes a foreign one lakehook's.
    pub fn action(&self, take_over: bool) -> Action {
        match &self.present {
            None => Action::Create,
            Some(present) if !is_ours(present) && !take_over => Action::Foreign,
            Some(_) if self.changes.is_empty() => Action::Nothing,
            Some(_) => Action::Update,
        }
    }

    pub fn is_there(&self) -> bool {
        self.present.is_some()
    }

    /// `Subscription/lakehook`, or what it will be found by.
    pub fn name(&self) -> String {
        let path = self.wanted.path.clone().or_else(|| self.present_path());
        path.unwrap_or_else(|| format!("{} {}", self.wanted.collection, self.wanted.name))
    }

    /// Its status at the CDR when it was read.
    pub fn status(&self) -> Option<&str> {
        self.present.as_ref()?["status"].as_str()
    }

    fn present_path(&self) -> Option<String> {
        let id = self.present.as_ref()?["id"].as_str()?;
        Some(format!("{}/{id}", self.wanted.collection))
    }

    fn version(&self) -> Option<String> {
        let version = self.present.as_ref()?["meta"]["versionId"].as_str()?;
        Some(format!("W/\"{version}\""))
    }

    fn failed(&self) -> impl Fn(CdrError) -> SubscriptionError {
        let what = self.name();
        move |source| SubscriptionError::Cdr { what: what.clone(), source }
    }
}

/// Reads what is there; writes nothing.
pub async fn steps(
    cdr: &Cdr,
    wish: &Wish,
    capabilities: &Capabilities,
) -> Result<Vec<Step>, SubscriptionError> {
    let mut steps = Vec::new();
    for wanted in wanted(wish, capabilities)? {
        let present = match &wanted.path {
            Some(path) => read(cdr, path).await,
            None => find(cdr, &wanted).await,
        };
        let what = wanted.path.clone().unwrap_or_else(|| wanted.collection.to_owned());
        let present = present.map_err(|source| SubscriptionError::Cdr { what, source })?;
        let (resource, changes) = lay_over(&wanted, present.as_ref());
        steps.push(Step { wanted, present, resource, changes });
    }
    Ok(steps)
}

/// Creates or updates, and returns where it is. An update fails where somebody else was faster.
pub async fn apply(cdr: &Cdr, step: &Step) -> Result<String, SubscriptionError> {
    let body = Bytes::from(step.resource.to_string());
    let path = step.present_path().or_else(|| step.wanted.path.clone());
    let version = step.version();
    let answer = match &path {
        Some(path) => cdr.write(Method::PUT, path, Some(body), version.as_deref()).await,
        None => cdr.create(step.wanted.collection, body).await,
    };
    let answer = answer.and_then(super::super::Answer::success).map_err(step.failed())?;
    if let Some(path) = path {
        return Ok(path);
    }
    let stored: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let location = answer.location.as_deref().and_then(|location| {
        let (_, behind) = location.split_once(&format!("{}/", step.wanted.collection))?;
        behind.split('/').next().map(str::to_owned)
    });
    let id = stored["id"].as_str().map(str::to_owned).or(location);
    let id = id.ok_or(CdrError::Nonsense("created, but it does not say under which id"));
    id.map(|id| format!("{}/{id}", step.wanted.collection)).map_err(step.failed())
}

/// Deletes it; one that is gone already is as good.
pub async fn remove(cdr: &Cdr, step: &Step) -> Result<(), SubscriptionError> {
    let Some(path) = step.present_path() else { return Ok(()) };
    let answer = cdr.write(Method::DELETE, &path, None, None).await.map_err(step.failed())?;
    match answer.status {
        404 | 410 => Ok(()),
        _ => answer.success().map(|_| ()).map_err(step.failed()),
    }
}

/// A Subscription as the CDR has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Active,
    Requested,
    /// The CDR gave up on it; with its own words, for a terminal.
    Error(Option<String>),
    Off,
    Gone,
    Other,
}

impl Seen {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Requested => "requested",
            Self::Error(_) => "error",
            Self::Off => "off",
            Self::Gone => "gone",
            Self::Other => "unknown",
        }
    }
}

/// The status of the Subscription at `path`.
pub async fn seen(cdr: &Cdr, path: &str) -> Result<Seen, CdrError> {
    let Some(subscription) = read(cdr, path).await? else { return Ok(Seen::Gone) };
    Ok(match subscription["status"].as_str() {
        Some("active") => Seen::Active,
        Some("requested") => Seen::Requested,
        Some("error") => Seen::Error(subscription["error"].as_str().map(str::to_owned)),
        Some("off") => Seen::Off,
        _ => Seen::Other,
    })
}

async fn read(cdr: &Cdr, path: &str) -> Result<Option<Value>, CdrError> {
    let (status, body) = cdr.get(path, Instant::now() + PATIENCE).await?;
    match status {
        200 => {
            let value: Value = serde_json::from_slice(&body).unwrap_or_default();
            if value["resourceType"] != "Subscription" {
                return Err(CdrError::Nonsense("no Subscription in FHIR JSON"));
            }
            Ok(Some(value))
        }
        404 | 410 => Ok(None),
        status => Err(CdrError::Status { status, outcome: Default::default() }),
    }
}

/// By its tag, where the server chose the id.
async fn find(cdr: &Cdr, wanted: &Wanted) -> Result<Option<Value>, CdrError> {
    let query = format!("{}?_tag={TAG_SYSTEM}|{}", wanted.collection, wanted.name);
    let mut next = Some(query);
    while let Some(page) = next {
        let page = cdr.search(&page).await?;
        for entry in &page.resources {
            let value: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
            // A server that does not know `_tag` would answer with all of them.
            let tags = value["meta"]["tag"].as_array();
            let is = |tag: &Value| tag["system"] == TAG_SYSTEM && tag["code"] == wanted.name.as_str();
            if value["resourceType"] == "Subscription" && tags.is_some_and(|tags| tags.iter().any(is)) {
                return Ok(Some(value));
            }
        }
        next = page.next;
    }
    Ok(None)
}
