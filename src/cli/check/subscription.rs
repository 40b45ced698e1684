//! A Subscription's known traps: what the CDR would send wrongly, or never, without an error anywhere.

use serde_json::Value;

use super::authorization::{Wants, authorization};
use super::table::{Row, Table, quoted};
use crate::cdr::Server;
use crate::cdr::subscription::extensions::{
    DELIVER_LATEST, PAYLOAD_SEARCH, SEND_DELETES, STRIP_VERSION_IDS, find, is_on,
};

pub(super) fn name(subscription: &Value) -> String {
    match subscription["id"].as_str() {
        Some(id) => format!("Subscription/{}", quoted(id)),
        None => "Subscription".into(),
    }
}

/// `server` is the kind of the CDR, where it is known.
pub(super) fn check(table: &mut Table, subscription: &Value, wants: &Wants<'_>, server: Option<Server>) {
    let channel = &subscription["channel"];
    table.add(status(subscription["status"].as_str()));
    table.add(kind(channel["type"].as_str()));
    table.add(endpoint(channel["endpoint"].as_str(), wants));
    table.add(payload(channel["payload"].as_str()));
    table.add(authorization(subscription, wants));
    table.add(deletes(subscription));
    table.add(criteria(subscription["criteria"].as_str()));
    if is_on(channel, DELIVER_LATEST) && server != Some(Server::SmileCdr) {
        table.add(Row::warning("deliver-latest-version", "on: open-source HAPI stands still for about a minute whenever a resource is deleted while its delivery waits")
            .advise("remove the extension, unless this is Smile CDR: lakehook keeps the order without it"));
    }
    if find(subscription, PAYLOAD_SEARCH).is_some() {
        table.add(
            Row::failed(
                "payload-search-criteria",
                "set: after a delete the search finds nothing, and HAPI posts a Bundle that names nothing: deletes are lost",
            )
            .advise("remove the extension"),
        );
    }
    if is_on(channel, STRIP_VERSION_IDS) {
        table.add(
            Row::warning(
                "strip-version-ids",
                "on: without meta.versionId, order is decided by meta.lastUpdated alone",
            )
            .advise("remove the extension"),
        );
    }
}

fn status(status: Option<&str>) -> Row {
    match status {
        Some("active") => Row::ok("status", "active"),
        Some("requested") => Row::ok("status", "requested: the CDR makes it active, on HAPI within seconds"),
        Some("error") => Row::failed("status", "error: the CDR gave up on it and sends nothing").advise(
            "look at Subscription.error and the CDR's log, mend the cause, then set status to requested",
        ),
        Some("off") => Row::failed("status", "off: nothing is sent").advise("set status to requested"),
        Some(other) => Row::failed("status", format!("{} is none that R4 knows", quoted(other)))
            .advise("set status to requested"),
        None => Row::failed("status", "missing").advise("set status to requested"),
    }
}

fn kind(kind: Option<&str>) -> Row {
    match kind {
        Some("rest-hook") => Row::ok("channel.type", "rest-hook"),
        Some(other) => {
            Row::failed("channel.type", format!("{}: lakehook is called by rest-hook only", quoted(other)))
                .advise("set channel.type to rest-hook")
        }
        None => Row::failed("channel.type", "missing").advise("set channel.type to rest-hook"),
    }
}

/// Never the query: it often carries a token.
fn endpoint(endpoint: Option<&str>, wants: &Wants<'_>) -> Row {
    let what = "channel.endpoint";
    let base = if wants.base_path.is_empty() { "/" } else { wants.base_path };
    let Some(text) = endpoint else {
        return Row::failed(what, "missing").advise(format!(
            "set it to lakehook's address and base path: https://lakehook.example.org{base}"
        ));
    };
    let Ok(url) = reqwest::Url::parse(text) else {
        return Row::failed(what, "is not a URL")
            .advise(format!("write it as https://lakehook.example.org{base}"));
    };
    let shown = format!(
        "{}://{}{}",
        url.scheme(),
        url.authority().rsplit('@').next().unwrap_or_default(),
        url.path()
    );
    if url.query().is_some() || url.fragment().is_some() {
        return Row::failed(
            what,
            format!(
                "{shown} has a query: HAPI appends the resource's path behind it, and lakehook answers 400"
            ),
        )
        .advise("remove the query; a token belongs into channel.header");
    }
    let path = url.path().trim_end_matches('/');
    if path != wants.base_path {
        let row = Row::failed(what, format!("{shown}: its path is not --base-path {base}"));
        return row.advise(match path.strip_prefix(wants.base_path) {
            Some(_) => {
                format!("end it at {base}: the CDR appends type and id; unless a proxy rewrites the path")
            }
            None => format!("make both equal, unless a proxy rewrites the path to {base}"),
        });
    }
    let loopback = url.host_str().is_some_and(crate::healthlake::is_loopback);
    match (url.scheme(), wants.tls) {
        ("https", _) => Row::ok(what, shown),
        ("http", true) => Row::failed(what, format!("{shown}: but lakehook serves TLS there"))
            .advise("write it with https://"),
        ("http", false) if loopback => Row::ok(what, shown),
        ("http", false) => Row::warning(what, format!("{shown}: patient data and the token go in clear"))
            .advise("end TLS at a balancer or in lakehook (--tls-cert), and write it with https://"),
        _ => Row::failed(what, format!("{shown} is neither http nor https")).advise("write it with https://"),
    }
}

fn payload(payload: Option<&str>) -> Row {
    let what = "channel.payload";
    let advice = "set channel.payload to application/fhir+json";
    match payload.map(|text| text.split(';').next().unwrap_or_default().trim()) {
        Some("application/fhir+json" | "application/fhir+xml" | "application/json" | "application/xml" | "text/json" | "text/xml" | "application/json+fhir" | "application/xml+fhir") => {
            Row::ok(what, payload.map(quoted).unwrap_or_default())
        }
        Some(other) if !other.is_empty() => {
            Row::failed(what, format!("{} is neither FHIR JSON nor FHIR XML", quoted(other))).advise(advice)
        }
        _ => Row::failed(what, "missing: the CDR tells that something changed, not what; nothing is mirrored, and HAPI does not even see an error")
            .advise(advice),
    }
}

fn deletes(subscription: &Value) -> Row {
    let what = "deletes";
    let place = "put the extension send-delete-messages (valueBoolean true) into channel.extension";
    match find(&subscription["channel"], SEND_DELETES).map(|value| &value["valueBoolean"]) {
        Some(Value::Bool(true)) => Row::ok(what, "send-delete-messages is on channel"),
        Some(Value::Bool(false)) => Row::warning(what, "send-delete-messages is false: what is deleted stays in HealthLake").advise(place),
        Some(_) => Row::failed(what, "send-delete-messages has no valueBoolean").advise(place),
        None if find(subscription, SEND_DELETES).is_some() => {
            Row::failed(what, "send-delete-messages is on the Subscription's root, where HAPI ignores it: no delete is sent, and no error shown")
                .advise("move it into channel.extension")
        }
        None => Row::warning(what, "no send-delete-messages: HAPI and Smile CDR send no deletes without it")
            .advise(format!("{place}; Medplum and Firely do without")),
    }
}

fn criteria(criteria: Option<&str>) -> Row {
    let what = "criteria";
    match criteria.map(str::trim) {
        Some("[*]") => Row::ok(what, "[*]: all types"),
        Some(text) if text.split_once('?').is_some_and(|(_, query)| !query.is_empty()) => Row::warning(
            what,
            format!(
                "{}: a search; a resource that stops matching stays in HealthLake as it last was",
                quoted(text)
            ),
        )
        .advise("mirror whole types: [*], or [Patient,Observation]"),
        Some(text) if !text.is_empty() => {
            Row::ok(what, format!("{}: nothing else is mirrored; all types would be [*]", quoted(text)))
        }
        _ => Row::failed(what, "missing: nothing is sent").advise("set criteria to [*]"),
    }
}

pub(super) fn path_of(endpoint: &str) -> Option<String> {
    reqwest::Url::parse(endpoint).ok().map(|url| url.path().to_owned())
}

#[cfg(test)]
#[path = "subscription_tests.rs"]
mod tests;
