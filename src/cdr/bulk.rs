//! The CDR's bulk export, as the Bulk Data Access guide has it: `$export` is kicked off, its status watched, and the
//! files that it names are read as they come.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LOCATION, HeaderName};
use http::{HeaderValue, Method};
use reqwest::Url;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::request::{Ask, Reply};
use super::{Cdr, CdrError, Outcome};

const KICK_OFF: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many looks in a row may fail.
const MISSED_LOOKS: u32 = 20;
/// A file that does not go on for so long is given up.
const STALLED: Duration = Duration::from_secs(60);
/// A manifest names every file (bytes).
const MANIFEST: usize = 64 << 20;

/// One file of NDJSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkFile {
    pub url: Url,
    /// Whether our Authorization goes along: only to the CDR's own address
    authorized: bool,
}

/// What the CDR wrote.
#[derive(Clone, Debug)]
pub struct BulkExport {
    pub files: Vec<BulkFile>,
    /// Files of OperationOutcomes: something is not in the export
    pub errors: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    requires_access_token: bool,
    output: Vec<Output>,
    #[serde(default)]
    error: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    url: String,
}

/// A file that is being read.
pub struct Download(reqwest::Response);

impl Download {
    /// None at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CdrError> {
        let chunk = timeout(STALLED, self.0.chunk()).await.map_err(|_| CdrError::Deadline)?;
        chunk.map_err(|_| CdrError::Unreachable)
    }
}

impl Cdr {
    /// Kicks off an export of these types, or of everything. Gives the address where its status is.
    pub async fn start_bulk(&self, types: &[String]) -> Result<Url, CdrError> {
        let types = if types.is_empty() { String::new() } else { format!("&_type={}", types.join(",")) };
        let url = self.url(&format!("$export?_outputFormat=application%2Ffhir%2Bndjson{types}"));
        let prefer = HeaderName::from_static("prefer");
        let ask = Ask::get(url).header(prefer, HeaderValue::from_static("respond-async"));
        // Sent once: a second one would be a second job.
        let reply = self.send(&ask, MANIFEST, "an answer may be", Instant::now() + KICK_OFF).await?;
        if reply.status != 202 {
            return Err(match reply.status {
                200..300 => CdrError::Bulk("it was answered at once, not started"),
                _ => reply.into_error(),
            });
        }
        let location = reply.headers.get(CONTENT_LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or(CdrError::Bulk("no Content-Location says where its status is"))?;
        self.own(location).ok_or(CdrError::Bulk("its status is at another address than --cdr-url's"))
    }

    /// Looks at it until it ended. `told` hears how far the CDR says it is.
    pub async fn watch_bulk(&self, job: &Url, mut told: impl FnMut(&str)) -> Result<BulkExport, CdrError> {
        let (mut wait, mut pause, mut missed) = (None::<Duration>, FIRST_PAUSE, 0);
        loop {
            // Before the first look too: a small one has ended by then, and a server may ask for minutes between looks.
            sleep(wait.take().unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let looked =
                self.fetch(Ask::get(job.clone()), MANIFEST, "a manifest may be", Instant::now() + LOOK);
            match looked.await {
                Ok(reply) if reply.status == 202 => {
                    missed = 0;
                    wait = reply.retry_after();
                    told(&progress(&reply));
                }
                Ok(reply) if reply.status == 200 => return self.manifest(&reply.body),
                Ok(reply) if reply.status < 500 && reply.status != 429 => return Err(reply.into_error()),
                Ok(reply) if missed >= MISSED_LOOKS => return Err(reply.into_error()),
                Err(error) if missed >= MISSED_LOOKS => return Err(error),
                _ => missed += 1,
            }
        }
    }

    /// Tells the CDR that its files are not needed any more; a server need not know this.
    pub async fn end_bulk(&self, job: &Url) {
        let ask = Ask { method: Method::DELETE, ..Ask::get(job.clone()) };
        if let Err(error) = self.send(&ask, MANIFEST, "an answer may be", Instant::now() + LOOK).await {
            tracing::debug!(%error, "the CDR's export was not deleted");
        }
    }

    pub async fn open_bulk(&self, file: &BulkFile) -> Result<Download, CdrError> {
        let ask = async |authorization: Option<&HeaderValue>| {
            let mut get = self.client.get(file.url.clone()).header(ACCEPT, "application/fhir+ndjson");
            if let Some(authorization) = authorization {
                get = get.header(AUTHORIZATION, authorization);
            }
            let answer = timeout(STALLED, get.send()).await.map_err(|_| CdrError::Deadline)?;
            answer.map_err(|_| CdrError::Unreachable)
        };
        let mut answer = if file.authorized {
            let held = self.authorization.current().await?;
            let answer = ask(held.value.as_ref()).await?;
            match answer.status().as_u16() {
                401 => match self.authorization.after_refusal(&held).await? {
                    Some(other) => ask(other.value.as_ref()).await?,
                    None => answer,
                },
                _ => answer,
            }
        } else {
            ask(None).await?
        };
        match answer.status().as_u16() {
            200 => Ok(Download(answer)),
            status => {
                let body = timeout(STALLED, answer.chunk()).await.ok().and_then(Result::ok).flatten();
                Err(CdrError::Status { status, outcome: Outcome::read(&body.unwrap_or_default()) })
            }
        }
    }

    fn manifest(&self, body: &[u8]) -> Result<BulkExport, CdrError> {
        let manifest: Manifest =
            serde_json::from_slice(body).map_err(|_| CdrError::Bulk("its end is no manifest in JSON"))?;
        let mut files = Vec::with_capacity(manifest.output.len());
        for Output { url } in &manifest.output {
            let file = match (self.own(url), Url::parse(url)) {
                (Some(url), _) => BulkFile { url, authorized: true },
                (None, Ok(url)) if !manifest.requires_access_token => BulkFile { url, authorized: false },
                _ => {
                    return Err(CdrError::Bulk(
                        "its files are at another address than --cdr-url's and need its token, which is not sent elsewhere",
                    ));
                }
            };
            files.push(file);
        }
        Ok(BulkExport { files, errors: manifest.error.len() })
    }

    /// An address at our base's own origin. A CDR behind a proxy may name itself by another one: then its path begins
    /// as our base's does.
    fn own(&self, text: &str) -> Option<Url> {
        let below = Url::parse(&format!("{}/", self.base())).ok()?;
        let url = below.join(text).ok()?;
        if url.origin() == self.base.origin() {
            return Some(url);
        }
        let path = self.base.path();
        let rest = url.path().strip_prefix(path).filter(|rest| path.len() > 1 && rest.starts_with('/'))?;
        let mut own = self.base.clone();
        own.set_path(&format!("{path}{rest}"));
        own.set_query(url.query());
        Some(own)
    }
}

/// `X-Progress`, which is the server's own word.
fn progress(reply: &Reply) -> String {
    let text = reply.headers.get("x-progress").and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cdr::Authorization;
    use crate::healthlake::Trust;

    fn cdr() -> Cdr {
        let base = Url::parse("https://cdr.example/fhir").unwrap();
        Cdr::new(&base, Authorization::None, 1 << 20, &Trust::default()).unwrap()
    }

    fn manifest(url: &str, token: bool) -> Result<Vec<BulkFile>, CdrError> {
        let text = format!(r#"{{"requiresAccessToken":{token},"output":[{{"type":"A","url":"{url}"}}]}}"#);
        cdr().manifest(text.as_bytes()).map(|export| export.files)
    }

    #[test]
    fn the_token_goes_to_the_cdr_only() {
        let ours = |path: &str| {
            let url = Url::parse(&format!("https://cdr.example{path}")).unwrap();
            vec![BulkFile { url, authorized: true }]
        };
        for token in [true, false] {
            assert_eq!(manifest("https://cdr.example/fhir/Binary/1", token).unwrap(), ours("/fhir/Binary/1"));
            assert_eq!(manifest("Binary/1", token).unwrap(), ours("/fhir/Binary/1"));
            // By the name it has behind its proxy
            assert_eq!(manifest("http://10.0.0.1/fhir/B?a=b", token).unwrap(), ours("/fhir/B?a=b"));
        }
        let elsewhere = "https://files.example/fhirother/1?signature=x";
        let url = Url::parse(elsewhere).unwrap();
        assert_eq!(manifest(elsewhere, false).unwrap(), [BulkFile { url, authorized: false }]);
        assert!(manifest(elsewhere, true).unwrap_err().to_string().contains("not sent elsewhere"));
    }

    #[test]
    fn what_is_no_manifest_is_an_error() {
        assert!(cdr().manifest(b"<html>").is_err());
        assert!(cdr().manifest(b"{}").is_err());
    }
}
