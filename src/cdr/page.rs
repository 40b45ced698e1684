//! Searches: a page of resources, each one's bytes as they stand in the Bundle.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use reqwest::Url;
use tokio::time::Instant;

use super::request::Ask;
use super::{Cdr, CdrError};
use crate::delivery::{Key, Version};
use crate::searchset::{Head, Searchset};

/// For one page, all attempts together: a CDR may have to search for long before the first.
const PATIENCE: Duration = Duration::from_secs(120);

/// One page of a search.
#[derive(Debug)]
pub struct Page {
    pub resources: Vec<Entry>,
    /// Where the next page is, for `Cdr::search`; none after the last one.
    pub next: Option<String>,
    /// How many match in all, where the CDR says so.
    pub total: Option<u64>,
    /// Matches that can't be taken: they have no type and id that FHIR allows.
    pub unreadable: usize,
}

/// A resource that matches.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Key,
    pub version: Version,
    /// The resource exactly as it stands in the Bundle
    pub json: Bytes,
}

impl Cdr {
    /// One page: `Patient?_count=100` below the base, or a `Page::next`. Included resources and
    /// OperationOutcomes are left out.
    pub async fn search(&self, path_or_next: &str) -> Result<Page, CdrError> {
        let asked = self.page_url(path_or_next)?;
        // HAPI answers a search from what it found up to a minute ago, unless told.
        let ask = Ask::get(asked.clone()).header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let reply = self.fetch(ask, self.large(), "a page may be", Instant::now() + PATIENCE).await?;
        if reply.status != 200 {
            return Err(reply.into_error());
        }
        self.page(&asked, &reply.body)
    }

    /// How many resources match `query` (`_lastUpdated=ge2026`, or nothing).
    pub async fn count(&self, resource_type: &str, query: &str) -> Result<u64, CdrError> {
        let and = if query.is_empty() { "" } else { "&" };
        let page = self.search(&format!("{resource_type}?{query}{and}_summary=count")).await?;
        page.total.ok_or(CdrError::Nonsense("no Bundle.total, though _summary=count was asked for"))
    }

    fn page(&self, asked: &Url, body: &Bytes) -> Result<Page, CdrError> {
        let bundle: Searchset<'_> =
            serde_json::from_slice(body).map_err(|_| CdrError::Nonsense("no Bundle in FHIR JSON"))?;
        if bundle.resource_type.as_deref() != Some("Bundle") {
            return Err(CdrError::Nonsense("no Bundle in FHIR JSON"));
        }
        let mut page = Page {
            resources: Vec::with_capacity(bundle.entry.len()),
            next: None,
            total: bundle.total,
            unreadable: 0,
        };
        for found in &bundle.entry {
            if !found.is_match() {
                continue;
            }
            let raw = found.resource.map_or("", |raw| raw.get());
            let head = Head::of(raw.as_bytes());
            if head.resource_type == "OperationOutcome" {
                continue;
            }
            match Key::new(&head.resource_type, &head.id) {
                Ok(key) => page.resources.push(Entry {
                    key,
                    version: Version::new(head.meta.version_id.as_deref(), head.meta.last_updated.as_deref()),
                    json: body.slice_ref(raw.as_bytes()),
                }),
                Err(_) => page.unreadable += 1,
            }
        }
        if page.unreadable > 0 {
            tracing::warn!(
                count = page.unreadable,
                "matches of a search have no type and id that FHIR allows"
            );
        }
        if let Some(next) = bundle.link("next") {
            page.next = Some(self.next_url(asked, bundle.link("self"), next)?.into());
        }
        Ok(page)
    }

    fn page_url(&self, path_or_next: &str) -> Result<Url, CdrError> {
        if !path_or_next.contains("://") {
            return Ok(self.url(path_or_next));
        }
        let url = Url::parse(path_or_next).map_err(|_| CdrError::NextPage("no URL"))?;
        if url.origin() != self.base.origin() {
            return Err(CdrError::NextPage("not at the CDR's own address"));
        }
        Ok(url)
    }

    /// A `next` at our base's own origin. A CDR behind a proxy may name itself by another one: its `self` link
    /// tells which part of its URLs is its base, and where there is none the path has to begin as our base's.
    fn next_url(&self, asked: &Url, own: Option<&str>, next: &str) -> Result<Url, CdrError> {
        let base = &self.base;
        // A reference such as `?page=2` or `Patient?page=2` is one relative to the base.
        let below = Url::parse(&format!("{}/", self.base())).map_err(|_| CdrError::NextPage("no URL"))?;
        let mut url = below.join(next).map_err(|_| CdrError::NextPage("no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some()
        {
            return Err(CdrError::NextPage("no plain http(s) URL"));
        }
        url.set_fragment(None);
        if url.origin() != base.origin() {
            let elsewhere = own.and_then(|own| base_of(own, asked, base));
            let tail = match &elsewhere {
                Some(theirs) if theirs.origin() == url.origin() => tail(url.path(), theirs.path()),
                _ => tail(url.path(), base.path()),
            };
            let Some(tail) = tail else {
                return Err(CdrError::NextPage(
                    "at another address, and its path does not begin as --cdr-url's: set --cdr-url to the address that the CDR names in its Bundles' links, or let the CDR name the one that it is reached by",
                ));
            };
            let mut ours = base.clone();
            ours.set_path(&format!("{}{tail}", base.path().trim_end_matches('/')));
            ours.set_query(url.query());
            url = ours;
        }
        if url == *asked {
            return Err(CdrError::NextPage("the page just read"));
        }
        Ok(url)
    }
}

/// The base that the CDR thinks it has: its `self` link without what was asked below our base.
fn base_of(own: &str, asked: &Url, base: &Url) -> Option<Url> {
    let mut own = Url::parse(own).ok()?;
    let below = tail(asked.path(), base.path())?;
    let path = own.path().strip_suffix(below)?.to_owned();
    own.set_path(&path);
    Some(own)
}

/// What stands behind the base in a path: empty, or with a slash first.
fn tail<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let tail = path.strip_prefix(base.trim_end_matches('/'))?;
    (tail.is_empty() || tail.starts_with('/')).then_some(tail)
}
