//! Dead letters as objects: `{prefix}Type/id/letter.letter`. S3 encrypts them, with its own key or one of KMS.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ServerSideEncryption;
use std::time::SystemTime;

use super::aws::{client_bounds, failed};
use super::blob::{Blobs, HEAD};
use super::{Answer, Checked, DeadLetters, Letter, LetterId, Name, Payload, StoreError, Stored, Usage};
use crate::delivery::Key;

const SUFFIX: &str = ".letter";

pub struct S3 {
    pub client: Client,
    pub bucket: String,
    /// Empty, or with a slash at its end
    pub prefix: String,
    /// None: S3's own key
    pub kms_key: Option<String>,
    pub blobs: Blobs,
}

/// `endpoint`: PrivateLink, an emulator; the bucket is named in the path then.
pub fn client(config: &SdkConfig, endpoint: Option<&str>) -> Client {
    let (timeouts, retries) = client_bounds();
    let mut builder =
        aws_sdk_s3::config::Builder::from(config).timeout_config(timeouts).retry_config(retries);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(builder.build())
}

impl S3 {
    fn object(&self, key: &Key, id: &LetterId) -> String {
        format!("{}{key}/{id}{SUFFIX}", self.prefix)
    }

    fn parse(&self, object: &str) -> Option<(Key, LetterId)> {
        let rest = object.strip_prefix(&self.prefix)?.strip_suffix(SUFFIX)?;
        let (key, id) = rest.rsplit_once('/')?;
        Some((Key::parse(key).ok()?, LetterId::parse(id)?))
    }

    async fn list(&self, prefix: String) -> Result<Vec<Name>, StoreError> {
        let mut names = Vec::new();
        let mut pages =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("S3 ListObjectsV2", &error))?;
            names.extend(page.contents().iter().filter_map(|object| {
                let (key, id) = self.parse(object.key()?)?;
                let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                let at = object.last_modified().map_or(SystemTime::UNIX_EPOCH, time);
                Some(Name { key, id, bytes, at })
            }));
        }
        Ok(names)
    }

    async fn get(&self, name: &Name, range: Option<String>) -> Result<Option<Vec<u8>>, StoreError> {
        let object = self.object(&name.key, &name.id);
        let get = self.client.get_object().bucket(&self.bucket).key(object).set_range(range);
        let answer = match get.send().await {
            Ok(answer) => answer,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(failed("S3 GetObject", &error)),
        };
        let body = answer.body.collect().await;
        let body = body.map_err(|_| StoreError::Failed("S3 GetObject: its answer was cut".to_owned()))?;
        Ok(Some(body.to_vec()))
    }
}

fn is_gone(error: &SdkError<GetObjectError>) -> bool {
    error.code() == Some("NoSuchKey")
}

fn time(at: &DateTime) -> SystemTime {
    SystemTime::try_from(*at).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl DeadLetters for S3 {
    fn keep<'a>(&'a self, letter: &'a Letter, payload: Payload) -> Answer<'a, ()> {
        Box::pin(async move {
            let blob = self.blobs.write(letter, &payload)?;
            let encryption = match self.kms_key {
                Some(_) => ServerSideEncryption::AwsKms,
                None => ServerSideEncryption::Aes256,
            };
            let put = self.client.put_object().bucket(&self.bucket).key(self.object(&letter.key, &letter.id));
            put.body(ByteStream::from(blob))
                .content_type("application/octet-stream")
                .server_side_encryption(encryption)
                .set_ssekms_key_id(self.kms_key.clone())
                .send()
                .await
                .map_err(|error| failed("S3 PutObject", &error))?;
            Ok(())
        })
    }

    fn names(&self) -> Answer<'_, Vec<Name>> {
        Box::pin(self.list(self.prefix.clone()))
    }

    fn names_of<'a>(&'a self, key: &'a Key) -> Answer<'a, Vec<Name>> {
        Box::pin(self.list(format!("{}{key}/", self.prefix)))
    }

    fn letter<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Letter>> {
        Box::pin(async move {
            let bytes = self.get(name, Some(format!("bytes=0-{}", HEAD - 1))).await?;
            bytes.map(|bytes| self.blobs.letter(&name.id, &bytes)).transpose()
        })
    }

    fn read<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Stored>> {
        Box::pin(async move {
            let bytes = self.get(name, None).await?;
            bytes.map(|bytes| self.blobs.read(&name.id, &bytes)).transpose()
        })
    }

    /// S3 does not tell whether it was there.
    fn remove<'a>(&'a self, name: &'a Name) -> Answer<'a, bool> {
        Box::pin(async move {
            let object = self.object(&name.key, &name.id);
            let delete = self.client.delete_object().bucket(&self.bucket).key(object);
            delete.send().await.map_err(|error| failed("S3 DeleteObject", &error))?;
            Ok(true)
        })
    }

    fn usage(&self) -> Answer<'_, Usage> {
        Box::pin(async {
            let names = self.list(self.prefix.clone()).await?;
            let bytes = names.iter().map(|name| name.bytes).sum();
            Ok(Usage { letters: names.len() as u64, bytes: Some(bytes) })
        })
    }

    fn check(&self) -> Answer<'_, Checked> {
        Box::pin(async {
            let usage = self.usage().await?;
            let key =
                self.kms_key.as_deref().map_or("S3's own key".to_owned(), |key| format!("KMS key {key}"));
            let found = format!("{}: {} letters, encrypted with {key}", self.place(), usage.letters);
            Ok(Checked { found, advice: None })
        })
    }

    fn kind(&self) -> &'static str {
        "s3"
    }

    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}
