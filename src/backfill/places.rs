//! Where NDJSON goes, and where an import's results are: a directory, or S3.

use std::path::Path;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use crate::healthlake::describe;

/// Larger answers are not read: a file of ours is smaller, and so are an import's results of it.
const LARGEST: usize = 1 << 30;

#[derive(Debug, thiserror::Error)]
#[error("s3://{at}: {problem}")]
pub struct PlaceError {
    at: String,
    problem: String,
}

/// `s3://bucket/prefix/`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Uri {
    pub bucket: String,
    /// Empty, or with a slash at its end
    pub prefix: String,
}

impl S3Uri {
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if bucket.is_empty()
            || !bucket.bytes().all(plain)
            || !prefix.bytes().all(|byte| plain(byte) || byte == b'/')
        {
            return None;
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Some(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl std::fmt::Display for S3Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// A prefix in a bucket.
#[derive(Clone)]
pub struct S3 {
    pub client: Client,
    pub uri: S3Uri,
}

/// `endpoint`: PrivateLink, an emulator; the bucket is named in the path then.
pub fn client(config: &SdkConfig, endpoint: Option<&str>) -> Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).build();
    let retries = RetryConfig::standard().with_max_attempts(5);
    let mut builder =
        aws_sdk_s3::config::Builder::from(config).timeout_config(timeouts).retry_config(retries);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(builder.build())
}

pub enum Place {
    /// Files stay where they are written.
    Directory,
    S3(S3),
}

impl Place {
    /// Whether the file is elsewhere now, and may be removed here.
    pub(super) async fn put(&self, name: &str, file: &Path) -> Result<bool, PlaceError> {
        match self {
            Self::Directory => Ok(false),
            Self::S3(s3) => s3.put(name, file).await.map(|()| true),
        }
    }
}

impl S3 {
    async fn put(&self, name: &str, file: &Path) -> Result<(), PlaceError> {
        let body = ByteStream::from_path(file).await.map_err(|error| self.failed(name, &error))?;
        let put = self.client.put_object().bucket(&self.uri.bucket).key(format!("{}{name}", self.uri.prefix));
        let put = put.content_type("application/fhir+ndjson").body(body);
        put.send().await.map(drop).map_err(|error| self.failed(name, &error))
    }

    /// Keys below the prefix, with it.
    pub async fn list(&self) -> Result<Vec<String>, PlaceError> {
        let list = self.client.list_objects_v2().bucket(&self.uri.bucket).prefix(&self.uri.prefix);
        let (mut pages, mut keys) = (list.into_paginator().send(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("", &error))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(keys)
    }

    /// An object by its whole key.
    pub(super) async fn get(&self, key: &str) -> Result<Vec<u8>, PlaceError> {
        let answer = self.client.get_object().bucket(&self.uri.bucket).key(key).send().await;
        let answer = answer.map_err(|error| self.object_failed(key, &error))?;
        if answer.content_length().is_some_and(|length| length > LARGEST as i64) {
            let problem = "is larger than 1 GiB, which is not read".to_owned();
            return Err(PlaceError { at: format!("{}/{key}", self.uri.bucket), problem });
        }
        let body = answer.body.collect().await.map_err(|error| self.object_failed(key, &error))?;
        Ok(body.to_vec())
    }

    /// An object by its whole key, of any size: it comes in chunks.
    pub async fn open(&self, key: &str) -> Result<Object, PlaceError> {
        let answer = self.client.get_object().bucket(&self.uri.bucket).key(key).send().await;
        let answer = answer.map_err(|error| self.object_failed(key, &error))?;
        let (etag, length) = (answer.e_tag, answer.content_length.unwrap_or(0));
        let at = format!("{}/{key}", self.uri.bucket);
        Ok(Object { key: key.to_owned(), at, etag, length, came: 0, body: answer.body })
    }

    /// Asks for what did not come yet. An object that was written anew meanwhile is an error.
    pub async fn reopen(&self, object: &mut Object) -> Result<(), PlaceError> {
        if object.came >= object.length {
            return Ok(());
        }
        let get = self.client.get_object().bucket(&self.uri.bucket).key(&object.key);
        let get = get.range(format!("bytes={}-", object.came)).set_if_match(object.etag.clone());
        let answer = get.send().await.map_err(|error| self.object_failed(&object.key, &error))?;
        object.body = answer.body;
        Ok(())
    }

    fn object_failed(&self, key: &str, error: &(dyn std::error::Error + 'static)) -> PlaceError {
        PlaceError { at: format!("{}/{key}", self.uri.bucket), problem: describe(error) }
    }

    fn failed(&self, name: &str, error: &(dyn std::error::Error + 'static)) -> PlaceError {
        PlaceError { at: format!("{}/{}{name}", self.uri.bucket, self.uri.prefix), problem: describe(error) }
    }
}

/// An object that is being read.
pub struct Object {
    key: String,
    /// For errors
    at: String,
    etag: Option<String>,
    length: i64,
    came: i64,
    body: ByteStream,
}

impl Object {
    /// None at its end. After an error `S3::reopen` goes on behind what came.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, PlaceError> {
        let failed = |problem: String| PlaceError { at: self.at.clone(), problem };
        match self.body.next().await {
            Some(Ok(chunk)) => {
                self.came += i64::try_from(chunk.len()).unwrap_or(i64::MAX);
                Ok(Some(chunk))
            }
            Some(Err(error)) => Err(failed(describe(&error))),
            None if self.came < self.length => Err(failed("was cut".to_owned())),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn s3_uris_are_read_with_and_without_slashes() {
        for (text, shown) in [
            ("s3://b", "s3://b/"),
            ("s3://b/", "s3://b/"),
            ("s3://b/a/c", "s3://b/a/c/"),
            ("s3://b-1.x/a/c/", "s3://b-1.x/a/c/"),
        ] {
            assert_eq!(S3Uri::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "b/a", "s3://", "s3:///a", "s3://b/a b", "https://b"] {
            assert!(S3Uri::parse(text).is_none(), "{text}");
        }
    }
}
