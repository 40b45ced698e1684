//! `lakehook digest`: a line for each resource of a bulk export, for comparisons that no single machine makes.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{FAILED, USAGE, fail};
use crate::reconcile::{Decimals, Export, ExportError, each_resource};
use crate::settings::{DecimalsArg, FilterArgs};

#[derive(Args, Debug)]
pub(super) struct DigestCommand {
    /// Files of NDJSON, gzip too, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Whether 1.0 and 1.00 differ
    #[arg(long, value_name = "HOW", value_enum, default_value = "digits", help_heading = "Digest")]
    decimals: DecimalsArg,
    /// Into how many parts keys are spread
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=65536), help_heading = "Digest")]
    parts: u32,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    resource_type: &'a str,
    id: &'a str,
    digest: String,
    /// Of the key: both sides' lines of a resource have the same.
    part: u32,
    version: &'a str,
    last_updated_ms: i64,
}

pub(super) async fn run(command: &DigestCommand) -> ExitCode {
    let decimals = Decimals::from(command.decimals);
    let filter = match command.filter.filter() {
        Ok(filter) => filter,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout());
    for path in &command.paths {
        let told = each_resource(&Export::Folder(path.clone()), decimals, &filter, &mut |kind, id, held| {
            // Of the CDR's export: HealthLake has to hold nothing of it.
            if filter.by_type(kind).is_some() || held.expected().is_none() {
                return Ok(());
            }
            let line = Line {
                resource_type: kind,
                id,
                digest: held.digest.hex(),
                part: crc(kind, id) % command.parts,
                version: &held.version,
                last_updated_ms: held.updated,
            };
            let io = |error: std::io::Error| ExportError::Io("stdout".into(), error);
            serde_json::to_writer(&mut out, &line).map_err(|error| io(error.into()))?;
            out.write_all(b"\n").map_err(io)
        })
        .await;
        if let Err(error) = told {
            return fail(FAILED, &error.to_string());
        }
    }
    match out.flush() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &format!("stdout: {error}")),
    }
}

/// Spreads keys evenly, and stays the same from version to version.
fn crc(kind: &str, id: &str) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(kind.as_bytes());
    crc.update(b"/");
    crc.update(id.as_bytes());
    crc.sum()
}
