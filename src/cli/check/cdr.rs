//! The CDR's own API, and its Subscriptions that point here.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::subscription::path_of;
use super::table::{Row, Table};
use crate::cdr::{Capabilities, Cdr, CdrError, Server};
use crate::settings::Plan;

/// As many as are looked through.
const PAGE: usize = 100;
/// Not a delivery's deadline: a HAPI that has just started takes more than 8 s for its first CapabilityStatement.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the CDR told.
#[derive(Default)]
pub(super) struct Found {
    pub(super) server: Option<Server>,
    /// Those that point here, where they were searched
    pub(super) subscriptions: Vec<Value>,
}

pub(super) async fn check(table: &mut Table, plan: &Plan, search: bool) -> Found {
    let deadline = || Instant::now() + PATIENCE;
    let Some(cdr) = &plan.cdr else {
        let row = Row::skipped("CDR", "no --cdr-url is set");
        table.add(if search {
            row.advise(
                "set it, or give a Subscription by --subscription FILE, to have Subscriptions looked through",
            )
        } else {
            row
        });
        return Found::default();
    };
    let (row, reached, server) = metadata(cdr, deadline()).await;
    table.add(row);
    let subscriptions = match (search, reached) {
        (false, _) => Vec::new(),
        (true, false) => {
            table.add(Row::skipped("Subscriptions", "the CDR can't be asked"));
            Vec::new()
        }
        (true, true) => subscriptions(table, cdr, plan, deadline()).await,
    };
    Found { server, subscriptions }
}

async fn metadata(cdr: &Cdr, deadline: Instant) -> (Row, bool, Option<Server>) {
    let body = match cdr.get("metadata", deadline).await {
        Ok((200, body)) => body,
        Ok((status, _)) => return (answered("CDR", status), false, None),
        // It is there: that its Subscriptions can't be read either is for their own row to say.
        Err(error @ CdrError::Deadline) => {
            let row = Row::warning("CDR", format!("metadata: {error} of 30s"))
                .advise("HAPI takes that long for the first one after its start: check again; else look at the CDR and at what stands between");
            return (row, true, None);
        }
        Err(error @ CdrError::TooLarge(_)) => {
            let row = Row::warning("CDR", format!("metadata: {error}"));
            return (row.advise("not read, so its FHIR version is not known; HAPI's has 2.6 MB: check with a larger --max-body"), true, None);
        }
        Err(error) => return (unheard("CDR", &error), false, None),
    };
    let statement: Option<Value> = serde_json::from_slice(&body).ok();
    let statement = statement.filter(|value| value["resourceType"] == "CapabilityStatement");
    let Some(statement) = statement else {
        let row = Row::failed("CDR", "200, but no CapabilityStatement in FHIR JSON")
            .advise("compare --cdr-url: it is the FHIR base URL, below which /metadata is");
        return (row, false, None);
    };
    let version = statement["fhirVersion"].as_str().unwrap_or("unknown");
    if !version.starts_with("4.0.") {
        let row =
            Row::failed("CDR", format!("speaks FHIR {version}; HealthLake and lakehook take R4 (4.0.x)"))
                .advise("set --cdr-url to the CDR's R4 endpoint");
        return (row, true, None);
    }
    let name =
        statement["software"]["name"].as_str().map(super::table::quoted).unwrap_or_else(|| "unnamed".into());
    let server = Capabilities::read(&statement).map(|capabilities| capabilities.server);
    (Row::ok("CDR", format!("metadata read: {name}, FHIR {version}")), true, server)
}

async fn subscriptions(table: &mut Table, cdr: &Cdr, plan: &Plan, deadline: Instant) -> Vec<Value> {
    let path = format!("Subscription?type=rest-hook&_count={PAGE}");
    let bundle: Value = match cdr.get(&path, deadline).await {
        Ok((200, body)) => serde_json::from_slice(&body).unwrap_or_default(),
        Ok((status, _)) => {
            table.add(answered("Subscriptions", status));
            return Vec::new();
        }
        Err(error) => {
            table.add(unheard("Subscriptions", &error));
            return Vec::new();
        }
    };
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all: Vec<&Value> = entries
        .iter()
        .map(|entry| &entry["resource"])
        .filter(|resource| resource["resourceType"] == "Subscription")
        .collect();
    let ours: Vec<Value> =
        all.iter().copied().filter(|subscription| points_here(subscription, plan)).cloned().collect();
    let more =
        bundle["link"].as_array().is_some_and(|links| links.iter().any(|link| link["relation"] == "next"));
    let of = match more {
        true => format!("the first {} rest-hook Subscriptions", all.len()),
        false => format!("{} rest-hook Subscriptions", all.len()),
    };
    table.add(if ours.is_empty() {
        Row::warning(
            "Subscriptions",
            format!("none of {of} has an endpoint that ends in {}", shown(&plan.base_path)),
        )
        .advise("create one: lakehook subscribe, or docs/subscriptions.md, which has it ready for each CDR")
    } else {
        Row::ok("Subscriptions", format!("{} of {of} point here, by the end of their endpoint", ours.len()))
    });
    ours
}

/// By the end of the path: what host the CDR knows us under can't be told from here.
fn points_here(subscription: &Value, plan: &Plan) -> bool {
    let endpoint = subscription["channel"]["endpoint"].as_str().unwrap_or_default();
    path_of(endpoint).is_some_and(|path| path.trim_end_matches('/').ends_with(&*plan.base_path))
}

fn shown(base_path: &str) -> &str {
    if base_path.is_empty() { "/" } else { base_path }
}

fn answered(what: &'static str, status: u16) -> Row {
    Row::failed(what, format!("answered {status}")).advise(match status {
        401 | 403 => {
            "set --cdr-token-file, --cdr-basic or --cdr-oauth-client-id to a user who may read there, Subscription included"
        }
        404 => "compare --cdr-url: it is the FHIR base URL, below which /metadata is",
        300..=399 => "redirects are not followed: set --cdr-url to where it leads",
        500..=599 => "the CDR, or a proxy in front of it, is in trouble",
        _ => "compare --cdr-url",
    })
}

fn unheard(what: &'static str, error: &CdrError) -> Row {
    Row::failed(what, error.to_string()).advise(match error {
        CdrError::Deadline => "nothing came for 30s: look at the CDR, and at what stands between",
        CdrError::TooLarge(_) => "check with a larger --max-body",
        CdrError::Authorization(_) => "the CDR was not asked: mend that first",
        _ => "compare --cdr-url; look at DNS, routes and, for a private CA, --ca-file",
    })
}
