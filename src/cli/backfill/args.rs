//! What `backfill` is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use crate::backfill::S3Uri;
use crate::delivery::{Key, is_resource_type};
use crate::settings::{bytes, duration};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backfill")]
pub(in crate::cli) struct BackfillArgs {
    /// Resource types; repeat it, or separate them by commas [default: all that the CDR serves]
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = resource_type)]
    pub types: Vec<String>,
    /// Only what the CDR stored from then on, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub since: Option<Timestamp>,
    /// Where it is remembered how far it is: a file, or order-table (an item in the order store's DynamoDB table)
    /// [default: backfill.json in the data dir, else order-table where there is one]
    #[arg(long, env = "LAKEHOOK_CURSOR", value_name = "FILE")]
    pub cursor: Option<PathBuf>,
    /// Forget how far an earlier run was
    #[arg(long)]
    pub restart: bool,
    /// File for what was refused: keys and codes, a line each [default: beside the cursor]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Resources at once
    #[arg(long, env = "LAKEHOOK_PARALLEL", value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,
    /// HealthLake's write units (1 KB of payload) per second at the most [default: as many as it takes]
    #[arg(long, env = "LAKEHOOK_MAX_RATE", value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rate: Option<u32>,
    /// How long to go on with a resource that may be sent again, and with a CDR that does not answer
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub patience: Duration,
    /// Resources of a page
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub page_size: u32,
    /// Resources of a window, as far as their dates allow: what a run that is killed repeats
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub window_size: u64,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Through the CDR")]
pub(in crate::cli) struct TriggerArgs {
    /// Let the CDR deliver everything once more for this Subscription: $trigger-subscription of HAPI and Smile CDR
    #[arg(long, value_name = "ID", value_parser = subscription)]
    pub trigger: Option<Key>,
    /// What to deliver, as Patient?_lastUpdated=ge2026-01-01 [default: all of each type]
    #[arg(long, value_name = "SEARCH", value_parser = search)]
    pub search: Vec<String>,
    /// A resource to deliver, as Type/id
    #[arg(long, value_name = "TYPE/ID", value_parser = key)]
    pub id: Vec<Key>,
    /// It counts as ended when nothing arrived for this long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub quiet: Duration,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "By HealthLake's import")]
pub(in crate::cli) struct ExportArgs {
    /// Write NDJSON to this directory or s3://BUCKET/PREFIX instead of forwarding
    #[arg(long, value_name = "PLACE", value_parser = To::parse)]
    pub to: Option<To>,
    /// A file of this size is closed
    #[arg(long, value_name = "SIZE", default_value = "45 MiB", value_parser = bytes)]
    pub file_size: usize,
    /// Start HealthLake's import of it, watch it, read its result, and forward what changed meanwhile
    #[arg(long)]
    pub import: bool,
    /// Role with which HealthLake reads the files and writes its result
    #[arg(long, env = "LAKEHOOK_IMPORT_ROLE_ARN", value_name = "ARN")]
    pub import_role_arn: Option<String>,
    /// Where HealthLake writes its result: s3://BUCKET/PREFIX
    #[arg(long, env = "LAKEHOOK_IMPORT_OUTPUT", value_name = "PLACE", value_parser = s3)]
    pub import_output: Option<S3Uri>,
    /// KMS key that HealthLake encrypts its result with
    #[arg(long, env = "LAKEHOOK_IMPORT_KMS_KEY", value_name = "KEY")]
    pub import_kms_key: Option<String>,
    /// HealthLake's control plane elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_IMPORT_ENDPOINT", value_name = "URL")]
    pub import_endpoint: Option<String>,
    /// S3 elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
}

/// Where NDJSON goes.
#[derive(Clone, Debug)]
pub(in crate::cli) enum To {
    Directory(PathBuf),
    S3(S3Uri),
}

impl To {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("s3:") { s3(text).map(Self::S3) } else { Ok(Self::Directory(text.into())) }
    }
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::S3(uri) => write!(f, "{uri}"),
        }
    }
}

fn resource_type(text: &str) -> Result<String, String> {
    match is_resource_type(text) {
        true => Ok(text.to_owned()),
        false => Err("no resource type: write it as Patient".to_owned()),
    }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "write it as 2026-01-31T12:00:00Z".to_owned())
}

fn subscription(text: &str) -> Result<Key, String> {
    let id = text.strip_prefix("Subscription/").unwrap_or(text);
    Key::new("Subscription", id).map_err(|error| format!("{error}; write the Subscription's id"))
}

fn search(text: &str) -> Result<String, String> {
    match text.split_once('?') {
        Some((name, _)) if is_resource_type(name) => Ok(text.to_owned()),
        _ => Err("write it as Patient?_lastUpdated=ge2026-01-01".to_owned()),
    }
}

fn key(text: &str) -> Result<Key, String> {
    Key::parse(text).map_err(|error| format!("{error}; write it as Type/id"))
}

fn s3(text: &str) -> Result<S3Uri, String> {
    S3Uri::parse(text)
        .ok_or_else(|| "write s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits, - . _ and /".to_owned())
}
