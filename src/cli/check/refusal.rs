//! HealthLake's answer was not the CapabilityStatement: why, and what to do. The exception's name decides, then
//! its text, then the status.

use http::header::{CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use super::table::{Row, quoted};
use crate::healthlake::Exchange;
use crate::settings::Plan;

pub(super) fn row(answer: &Exchange, plan: &Plan, region: &str) -> Row {
    let exception = answer.said.exception.as_deref().unwrap_or_default();
    let message = message(&answer.body);
    let status = answer.said.status;
    let mut found = match exception {
        "" => status.to_string(),
        name => format!("{} {name}", status.as_u16()),
    };
    if !message.is_empty() {
        found = format!("{found}: {message}");
    }
    if let Some(id) = &answer.said.request_id {
        found = format!("{found} (request {})", quoted(id));
    }
    let failed = |advice: String| Row::failed("data store", found.clone()).advise(advice);

    if matches!(status.as_u16(), 401 | 403)
        && header(answer, WWW_AUTHENTICATE).to_ascii_lowercase().contains("bearer")
    {
        return failed(SMART.into());
    }
    match exception {
        "ResourceNotFoundException" => failed(format!(
            "no such data store in {region}: compare the id and the region in --healthlake-endpoint with `aws healthlake list-fhir-datastores`"
        )),
        "RequestExpired" => failed(CLOCK.into()),
        "InvalidSignatureException" | "SignatureDoesNotMatch" => failed(signature(&message)),
        "UnrecognizedClientException" | "InvalidClientTokenId" => failed(
            "AWS does not know this access key: it was deleted, deactivated or mistyped, or its session token belongs to another one".into(),
        ),
        "ExpiredToken" | "ExpiredTokenException" => failed(
            "the temporary credentials are over: get new ones (`aws sso login`), or use a role that lakehook renews (--role-arn)".into(),
        ),
        "AccessDenied" | "AccessDeniedException" | "NotAuthorizedException" | "UnauthorizedException" => {
            failed(permission(&message, plan))
        }
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" | "IncompleteSignature"
        | "IncompleteSignatureException" => failed(
            "the signature did not arrive whole: something on the way takes the Authorization header out; go around the proxy".into(),
        ),
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" => Row::warning("data store", found.clone())
            .advise("HealthLake throttles this account: try again in a minute"),
        _ => by_status(answer, status, failed),
    }
}

const CLOCK: &str = "clock skew: the signature's time is off by more than AWS allows (5 minutes); let NTP set this machine's clock";

const SMART: &str = "neither a wrong key nor a missing permission: a data store made for SMART on FHIR asks for OAuth tokens instead of SigV4; look at its AuthorizationStrategy with `aws healthlake describe-fhir-datastore`, and mirror into one with AWS_AUTH";

fn header(answer: &Exchange, name: HeaderName) -> &str {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn signature(message: &str) -> String {
    if message.contains("expired") || message.contains("not yet current") {
        return CLOCK.into();
    }
    if message.contains("region") {
        return "the signature names the wrong region: set --region to the data store's".into();
    }
    "the secret access key does not belong to the access key id, or a proxy changes the request on the way (path, headers): copy the keys again, go around the proxy".into()
}

fn permission(message: &str, plan: &Plan) -> String {
    if message.contains("kms:") || message.contains("KMS") {
        return "the data store's KMS key refuses: allow kms:Decrypt, kms:GenerateDataKey and kms:DescribeKey on it".into();
    }
    let id = plan.endpoint.as_str().split("/datastore/").nth(1).and_then(|rest| rest.split('/').next());
    format!(
        "missing permission: allow healthlake:GetCapabilities, and for deliveries UpdateResource, DeleteResource and ReadResource, on arn:aws:healthlake:*:*:datastore/fhir/{} (docs/iam.md has the policy; a VPC endpoint's policy counts too)",
        id.unwrap_or("ID")
    )
}

fn by_status(answer: &Exchange, status: StatusCode, failed: impl Fn(String) -> Row) -> Row {
    let media = header(answer, CONTENT_TYPE);
    if status.is_redirection() {
        // A redirect's query may carry a token.
        let to = quoted(header(answer, LOCATION).split('?').next().unwrap_or_default());
        return failed(format!(
            "it is a redirect to {to}: HealthLake sends none; a login page or a proxy stands between"
        ));
    }
    if media.contains("html") || answer.body.trim_ascii_start().starts_with(b"<") {
        return failed(
            "this is a web page, not HealthLake: a proxy, a firewall or a login page answers; compare --healthlake-endpoint, and set NO_PROXY for its host if it should be reached directly".into(),
        );
    }
    match status.as_u16() {
        401 | 403 if answer.said.exception.is_none() => failed(SMART.into()),
        401 | 403 => failed("HealthLake refuses the signature or the caller: see docs/iam.md".into()),
        404 => failed("nothing there: compare --healthlake-endpoint, it ends in /datastore/ID or /datastore/ID/r4".into()),
        407 => failed("the proxy wants a login: put it into HTTPS_PROXY, or go around it".into()),
        500..=599 => failed("HealthLake, or a proxy in front of it, is in trouble: try again; if it stays, give AWS support the request id".into()),
        200..=299 => failed("this is no CapabilityStatement: something else than HealthLake answers; compare --healthlake-endpoint".into()),
        _ => failed("not an answer that HealthLake documents: compare --healthlake-endpoint".into()),
    }
}

/// AWS's text, or the first issue's. Only its first line: the next may show the canonical request, and with it
/// the session token.
fn message(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let issue = &body["issue"][0];
    let places = [&body["message"], &body["Message"], &issue["diagnostics"], &issue["details"]["text"]];
    places.into_iter().find_map(Value::as_str).map(quoted).unwrap_or_default()
}
