//! Where deliveries that were refused for good are kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SettingsError;
use super::units::{bytes, duration};
use crate::deadletter::{Limits, SealKeys};
use crate::healthlake::is_loopback;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Dead letters")]
pub struct DeadLetterArgs {
    /// Keep what is refused for good, and answer 200: off, dir (in --data-dir), s3://BUCKET/PREFIX or sqs:QUEUE-URL
    /// [default: dir with a data dir, else off]
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS", value_name = "STORE", value_parser = DeadLetterStore::parse)]
    pub dead_letters: Option<DeadLetterStore>,
    /// File with keys to encrypt them (AES-256), base64 or hex, one a line: the first encrypts, all decrypt
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_KEY_FILE", value_name = "FILE")]
    pub dead_letters_key_file: Option<PathBuf>,
    /// KMS key that S3 encrypts them with [default: S3's own key]
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_KMS_KEY", value_name = "KEY")]
    pub dead_letters_kms_key: Option<String>,
    /// S3 or SQS elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_ENDPOINT", value_name = "URL")]
    pub dead_letters_endpoint: Option<String>,
    /// So many are kept; then the CDR gets the refusal itself
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_MAX", value_name = "N", default_value = "10000")]
    pub dead_letters_max: u64,
    /// So much is kept; then the CDR gets the refusal itself
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_MAX_SIZE", value_name = "SIZE", default_value = "1 GiB", value_parser = bytes)]
    pub dead_letters_max_size: usize,
    /// Those refused last longer ago than this are removed; a queue has a setting of its own
    #[arg(long, env = "LAKEHOOK_DEAD_LETTERS_RETENTION", value_name = "TIME", default_value = "90days", value_parser = duration)]
    pub dead_letters_retention: Duration,
}

/// Where dead letters are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterStore {
    Off,
    /// In the data directory
    Dir,
    /// `prefix` is empty, or ends with a slash.
    S3 {
        bucket: String,
        prefix: String,
    },
    Sqs {
        url: String,
    },
}

impl DeadLetterStore {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            let named = !bucket.is_empty() && bucket.bytes().all(plain);
            if !named || !prefix.bytes().all(|b| plain(b) || b == b'/') {
                return Err(
                    "write s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits, - . _ and /".to_owned()
                );
            }
            let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix });
        }
        match text.split_once(':') {
            None if text == "off" => Ok(Self::Off),
            None if text == "dir" => Ok(Self::Dir),
            Some(("sqs", url)) => {
                let parsed = reqwest::Url::parse(url).ok();
                let secure = parsed
                    .is_some_and(|url| url.scheme() == "https" || url.host_str().is_some_and(is_loopback));
                match secure {
                    true => Ok(Self::Sqs { url: url.to_owned() }),
                    false => {
                        Err("write sqs: and the queue's https:// URL, as `aws sqs get-queue-url` shows it"
                            .to_owned())
                    }
                }
            }
            _ => Err("write off, dir, s3://BUCKET/PREFIX or sqs:QUEUE-URL".to_owned()),
        }
    }
}

impl DeadLetterArgs {
    /// The store to use, cross-checked.
    pub fn store(&self, has_data_dir: bool) -> Result<DeadLetterStore, SettingsError> {
        let store = match &self.dead_letters {
            Some(DeadLetterStore::Dir) if !has_data_dir => {
                return Err(SettingsError::new("dead-letters", "dir needs a place to be: set --data-dir"));
            }
            Some(store) => store.clone(),
            None if has_data_dir => DeadLetterStore::Dir,
            None => DeadLetterStore::Off,
        };
        if self.dead_letters_kms_key.is_some() && !matches!(store, DeadLetterStore::S3 { .. }) {
            return Err(SettingsError::new(
                "dead-letters-kms-key",
                "is for s3://: a queue's KMS key is a setting of the queue, files have --dead-letters-key-file",
            )
            .with("dead-letters"));
        }
        if self.dead_letters_endpoint.is_some()
            && matches!(store, DeadLetterStore::Dir | DeadLetterStore::Off)
        {
            let problem = "is for s3:// and sqs: in --dead-letters";
            return Err(SettingsError::new("dead-letters-endpoint", problem).with("dead-letters"));
        }
        if self.dead_letters_max == 0 {
            return Err(SettingsError::new(
                "dead-letters-max",
                "is 0: nothing could be kept; to keep none, set --dead-letters off",
            ));
        }
        Ok(store)
    }

    pub fn keys(&self) -> Result<Option<SealKeys>, SettingsError> {
        let Some(path) = &self.dead_letters_key_file else { return Ok(None) };
        SealKeys::from_file(path)
            .map(Some)
            .map_err(|error| SettingsError::new("dead-letters-key-file", error.to_string()))
    }

    pub fn limits(&self) -> Limits {
        Limits {
            letters: self.dead_letters_max,
            bytes: self.dead_letters_max_size as u64,
            retention: self.dead_letters_retention,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read_as_written() {
        let parse = DeadLetterStore::parse;
        let s3 = |bucket: &str, prefix: &str| {
            Ok(DeadLetterStore::S3 { bucket: bucket.into(), prefix: prefix.into() })
        };
        assert_eq!(parse("off"), Ok(DeadLetterStore::Off));
        assert_eq!(parse("dir"), Ok(DeadLetterStore::Dir));
        for text in ["s3://b", "s3://b/"] {
            assert_eq!(parse(text), s3("b", ""), "{text}");
        }
        for text in ["s3://b/a/c", "s3://b/a/c/"] {
            assert_eq!(parse(text), s3("b", "a/c/"), "{text}");
        }
        let url = "https://sqs.us-east-1.amazonaws.com/111122223333/letters";
        assert_eq!(parse(&format!("sqs:{url}")), Ok(DeadLetterStore::Sqs { url: url.into() }));
        for wrong in [
            "",
            "on",
            "s3:",
            "s3://",
            "s3://b/a b",
            "s3://b?x",
            "sqs:",
            "sqs:letters",
            "sqs:http://example.org/q",
            "file:/tmp",
        ] {
            assert!(parse(wrong).unwrap_err().starts_with("write "), "{wrong}");
        }
    }
}
