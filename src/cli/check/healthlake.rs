//! The data store: reachable, ours, FHIR R4, and what it takes.

use std::time::Duration;

use http::header::DATE;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::refusal;
use super::table::{Row, Table};
use crate::healthlake::{CouldNot, Exchange, HealthLake, Manager, Resolved};
use crate::settings::Plan;

/// AWS refuses signatures that are off by five minutes.
const SKEW_REFUSED: Duration = Duration::from_secs(300);
const SKEW_WORRYING: Duration = Duration::from_secs(60);

pub(super) async fn check(
    table: &mut Table,
    plan: &Plan,
    resolved: Option<&Resolved>,
    deadline: impl Fn() -> Instant,
) {
    let Some(resolved) = resolved else {
        table.add(Row::skipped("data store", "nothing to sign the request with"));
        return;
    };
    let manager = Manager::new(resolved.provider.clone(), Plan::clock());
    let options = plan.options(resolved.region.clone());
    let healthlake = match HealthLake::new(plan.endpoint.clone(), manager, Plan::clock(), options) {
        Ok(healthlake) => healthlake,
        Err(error) => {
            table.add(Row::failed("data store", format!("no HTTP client: {error}")));
            return;
        }
    };
    let answer = match healthlake.metadata(deadline()).await {
        Ok(answer) => answer,
        Err(error) => {
            table.add(unheard(&healthlake, plan, error, deadline()).await);
            table.add(Row::skipped("clock", "no answer to compare with"));
            return;
        }
    };
    let statement = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .filter(|value| answer.said.status == 200 && value["resourceType"] == "CapabilityStatement");
    let Some(statement) = statement else {
        table.add(refusal::row(&answer, plan, &resolved.region));
        table.add(clock(&answer));
        return;
    };
    table.add(data_store(&statement, plan));
    table.add(clock(&answer));
    table.add(authorization(&statement));
    table.add(types(&statement));
}

async fn unheard(healthlake: &HealthLake, plan: &Plan, error: CouldNot, deadline: Instant) -> Row {
    let host = plan.endpoint.host();
    match error {
        CouldNot::Deadline => {
            let time = humantime::format_duration(plan.settings.delivery.deadline);
            Row::failed("data store", format!("{host} did not answer within --deadline {time}"))
                .advise("look at routes, security groups and the VPC endpoint's policy; a proxy may be holding the request")
        }
        CouldNot::Credentials => {
            Row::failed("data store", "the credentials were refused meanwhile").advise("try again")
        }
        CouldNot::Sign => Row::failed("data store", "the request can't be signed")
            .advise("the endpoint or the session token has characters that can't be sent"),
        CouldNot::Connect | CouldNot::Cut => {
            let why = healthlake.why_unreachable(deadline).await.unwrap_or_else(|| error.to_string());
            let advice = if why.contains("ertificate") {
                "if TLS is inspected on the way, or the host has a private CA, put that CA's certificate into --ca-file"
            } else if why.contains("dns") || why.contains("resolve") {
                "the host name is not known here: compare --healthlake-endpoint, and look at DNS (PrivateLink: private DNS names on)"
            } else if error == CouldNot::Cut {
                "something on the way ends the connection: a proxy, a firewall, or plain HTTP spoken to a TLS port"
            } else {
                "nothing listens there or nothing gets through: look at the port, routes, security groups, HTTPS_PROXY"
            };
            Row::failed("data store", format!("no connection to {host}: {}", super::table::quoted(&why)))
                .advise(advice)
        }
    }
}

fn data_store(statement: &Value, plan: &Plan) -> Row {
    let version = statement["fhirVersion"].as_str().unwrap_or("unknown");
    let name = statement["software"]["name"].as_str().map(super::table::quoted);
    let at = match name {
        Some(name) => format!("{} ({name})", plan.endpoint.host()),
        None => plan.endpoint.host().to_owned(),
    };
    if version.starts_with("4.0.") {
        Row::ok("data store", format!("metadata read from {at}, signature accepted, FHIR {version}"))
    } else {
        Row::failed("data store", format!("{at} speaks FHIR {version}, not R4 (4.0.x)"))
            .advise("compare --healthlake-endpoint: the data store must be of type R4")
    }
}

fn clock(answer: &Exchange) -> Row {
    let date = answer.headers.get(DATE).and_then(|value| value.to_str().ok());
    let Some(there) = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()) else {
        return Row::skipped("clock", "the answer carries no Date to compare with");
    };
    let ahead = Timestamp::now().duration_since(there.timestamp());
    let (side, difference) = (if ahead.is_negative() { "behind" } else { "ahead of" }, ahead.unsigned_abs());
    let seconds = difference.as_secs();
    let found = match seconds {
        0..=1 => "agrees with the answer's Date".to_owned(),
        _ => format!("{seconds}s {side} the answer's Date"),
    };
    if difference > SKEW_REFUSED {
        Row::failed("clock", format!("{found}: signatures are refused from 5 minutes on"))
            .advise("let NTP set this machine's clock")
    } else if difference > SKEW_WORRYING {
        Row::warning("clock", format!("{found}; signatures are refused from 5 minutes on"))
            .advise("let NTP set this machine's clock")
    } else {
        Row::ok("clock", found)
    }
}

/// A store made for SMART on FHIR says so in `rest.security`.
fn authorization(statement: &Value) -> Row {
    let rest = statement["rest"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut codes = rest
        .iter()
        .flat_map(|rest| array(&rest["security"]["service"]))
        .flat_map(|service| array(&service["coding"]));
    let mut extensions = rest.iter().flat_map(|rest| array(&rest["security"]["extension"]));
    let smart = codes
        .any(|coding| coding["code"].as_str().is_some_and(|code| code.eq_ignore_ascii_case("SMART-on-FHIR")))
        || extensions
            .any(|extension| extension["url"].as_str().is_some_and(|url| url.ends_with("/oauth-uris")));
    if smart {
        Row::warning("authorization", "the CapabilityStatement announces SMART on FHIR; AWS does not document whether such a store takes SigV4 signatures for writes")
            .advise("deliver one resource and look at the answer; a 401 or 403 means: mirror into a data store with AWS_AUTH (docs/iam.md)")
    } else {
        Row::ok("authorization", "no SMART on FHIR announced: SigV4 is what the store takes")
    }
}

fn types(statement: &Value) -> Row {
    let resources: Vec<&Value> =
        array(&statement["rest"]).iter().flat_map(|rest| array(&rest["resource"])).collect();
    let without = |code: &str| -> Vec<&str> {
        let lacks = |resource: &&&Value| {
            let interactions = array(&resource["interaction"]);
            !interactions.is_empty() && !interactions.iter().any(|interaction| interaction["code"] == code)
        };
        resources.iter().filter(lacks).filter_map(|resource| resource["type"].as_str()).collect()
    };
    if resources.is_empty() {
        return Row::warning("resource types", "the CapabilityStatement lists none")
            .advise("compare --healthlake-endpoint: it may not be a data store's URL");
    }
    let fixed = without("update");
    let fixed = match fixed.len() {
        0 => String::new(),
        1..=5 => format!("; no update of {}", fixed.join(", ")),
        n => format!("; no update of {n} of them"),
    };
    Row::ok(
        "resource types",
        format!(
            "{} are supported{fixed}; deliveries of others are answered 200 with a warning: not mirrored",
            resources.len()
        ),
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
#[path = "healthlake_tests.rs"]
mod tests;
