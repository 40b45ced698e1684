//! The Authorization header of requests to the CDR: one kind of it, renewed where it can be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::time::Instant;

use super::{CdrError, OAuth};

/// How often the token's file is looked at, at most. Kubernetes swaps a mounted secret's link, editors write
/// anew: contents are compared, not times.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub enum Authorization {
    None,
    /// The whole header value
    Fixed(HeaderValue),
    /// A bearer token in a file, which may change
    File(TokenFile),
    OAuth(Arc<OAuth>),
}

/// What a request is sent with. `generation` tells whether there is another one by now.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub value: Option<HeaderValue>,
    pub generation: u64,
}

impl Authorization {
    /// Fails where the token can't stand in a header.
    pub fn bearer(token: &str) -> Result<Self, &'static str> {
        header(format!("Bearer {token}")).map(Self::Fixed)
    }

    /// `user:password`
    pub fn basic(credentials: &str) -> Result<Self, &'static str> {
        header(format!("Basic {}", STANDARD.encode(credentials))).map(Self::Fixed)
    }

    /// Fails where the file can't be read now, or holds no token.
    pub fn token_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let value = token(&text)?;
        let read = Read { value, generation: 0, looked: Instant::now(), told: false };
        Ok(Self::File(TokenFile { path: path.to_owned(), read: Mutex::new(read) }))
    }

    pub(super) async fn current(&self) -> Result<Held, CdrError> {
        match self {
            Self::None => Ok(Held { value: None, generation: 0 }),
            Self::Fixed(value) => Ok(Held { value: Some(value.clone()), generation: 0 }),
            Self::File(file) => Ok(file.current(LOOK_EVERY).await),
            Self::OAuth(oauth) => oauth.current().await.map_err(CdrError::Authorization),
        }
    }

    /// Another one after the CDR refused `held` with 401; none where there is no other.
    pub(super) async fn after_refusal(&self, held: &Held) -> Result<Option<Held>, CdrError> {
        let other = match self {
            Self::None | Self::Fixed(_) => return Ok(None),
            Self::File(file) => file.current(Duration::ZERO).await,
            Self::OAuth(oauth) => oauth.renewed(held.generation).await.map_err(CdrError::Authorization)?,
        };
        Ok((other.generation != held.generation).then_some(other))
    }
}

/// A bearer token as its file held it last.
pub struct TokenFile {
    path: PathBuf,
    read: Mutex<Read>,
}

struct Read {
    value: HeaderValue,
    generation: u64,
    looked: Instant,
    /// That it can't be read any more has been said.
    told: bool,
}

impl TokenFile {
    /// What can't be read leaves the last one in use.
    async fn current(&self, every: Duration) -> Held {
        if self.locked().looked.elapsed() >= every {
            let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| error.to_string());
            let found = text.and_then(|text| token(&text));
            let mut read = self.locked();
            read.looked = Instant::now();
            match found {
                Ok(value) => {
                    read.told = false;
                    if value != read.value {
                        read.value = value;
                        read.generation += 1;
                        tracing::info!("--cdr-token-file: read again, since it changed");
                    }
                }
                Err(problem) if !read.told => {
                    read.told = true;
                    let path = self.path.display();
                    tracing::error!(%path, problem, "--cdr-token-file can't be used; the token read before stays in use");
                }
                Err(_) => {}
            }
        }
        let read = self.locked();
        Held { value: Some(read.value.clone()), generation: read.generation }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token(text: &str) -> Result<HeaderValue, String> {
    match text.trim() {
        "" => Err("holds no token".into()),
        token => Ok(header(format!("Bearer {token}"))?),
    }
}

/// Marked so that no log shows it.
pub(super) fn header(text: String) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::try_from(text).map_err(|_| "can't stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}
