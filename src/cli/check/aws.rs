//! Credentials, and who STS says they belong to.

use std::time::SystemTime;

use super::table::{Row, Table, quoted};
use crate::healthlake::Resolved;
use crate::settings::Plan;

/// None where there is nothing to sign with.
pub(super) async fn check(table: &mut Table, plan: &Plan) -> Option<Resolved> {
    let resolved = match plan.source.resolve().await {
        Ok(resolved) => resolved,
        Err(error) => {
            table.add(
                Row::failed(
                    "region",
                    "none: neither set, nor in the endpoint's host name, nor in the AWS chain",
                )
                .advise(error.to_string()),
            );
            table.add(Row::skipped("credentials", "they can't be had without a region"));
            return None;
        }
    };
    let region = &resolved.region;
    table.add(match plan.endpoint.region() {
        Some(host) if host != region => Row::failed(
            "region",
            format!("signatures name {region}, but the endpoint is in {host}: HealthLake will refuse them"),
        )
        .advise(format!("set --region {host}, or leave it away: the endpoint's host name tells it")),
        Some(_) => Row::ok("region", format!("{region}, as in the endpoint's host name")),
        None => Row::ok("region", region.clone()),
    });

    let role = plan.source.role.as_ref().map(|role| role.arn.as_str());
    let credentials = match resolved.credentials().await {
        Ok(credentials) => credentials,
        Err(error) => {
            table.add(match role {
                // The SDK lists every place it looked at.
                _ if Cause::of(&error) == Cause::NoSource => {
                    refused(Row::failed("credentials", "no source of the AWS chain has any"), &error)
                }
                Some(arn) => refused(
                    Row::failed("credentials", format!("{arn} can't be assumed: {}", quoted(&error))),
                    &error,
                ),
                None => refused(Row::failed("credentials", quoted(&error)), &error),
            });
            table.add(Row::skipped("STS", "no credentials to ask with"));
            return None;
        }
    };
    let lifetime = match credentials.expiry().map(|at| at.duration_since(SystemTime::now())) {
        None => "long-lived".to_owned(),
        Some(Ok(left)) => format!("for {} min", left.as_secs() / 60),
        Some(Err(_)) => "expired".to_owned(),
    };
    table.add(match role {
        Some(arn) => Row::ok("credentials", format!("{lifetime}, of {arn}")),
        None => Row::ok("credentials", format!("{lifetime}, from the AWS chain; no --role-arn")),
    });
    let identity = resolved.caller_identity(credentials).await;
    table.add(match identity {
        Ok(identity) => Row::ok("STS", format!("we are {}", identity.arn)),
        // Without a role nothing but this check asks STS.
        Err(error) if role.is_none() && Cause::of(&error) == Cause::Unreachable => Row::warning(
            "STS",
            format!("no answer: {}", quoted(&error)),
        )
        .advise(
            "not needed to deliver, as no role is assumed; where it should be reachable, see HTTPS_PROXY and --sts-endpoint",
        ),
        Err(error) => refused(Row::failed("STS", quoted(&error)), &error),
    });
    Some(resolved)
}

/// What stands behind an error of the credential chain or of STS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    UnknownKey,
    Clock,
    Region,
    WrongSecret,
    Expired,
    Denied,
    NoSource,
    Unreachable,
}

impl Cause {
    fn of(error: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
        if has(&["InvalidClientTokenId", "UnrecognizedClient"]) {
            Self::UnknownKey
        } else if has(&["Signature expired", "not yet current", "RequestExpired"]) {
            Self::Clock
        } else if has(&["valid region"]) {
            Self::Region
        } else if has(&["SignatureDoesNotMatch", "InvalidSignature"]) {
            Self::WrongSecret
        } else if has(&["ExpiredToken"]) {
            Self::Expired
        } else if has(&["AccessDenied", "ValidationError"]) {
            Self::Denied
        } else if has(&[
            "no credentials found",
            "no providers in chain",
            "not loaded",
            "CredentialsNotLoaded",
        ]) {
            Self::NoSource
        } else {
            Self::Unreachable
        }
    }
}

fn refused(row: Row, error: &str) -> Row {
    row.advise(match Cause::of(error) {
        Cause::UnknownKey => "AWS does not know this access key: it was deleted, deactivated or mistyped, or AWS_SESSION_TOKEN belongs to another one",
        Cause::Clock => "this machine's clock is wrong: let NTP set it",
        Cause::Region => "the signature names another region than this STS is in: compare --region and --sts-endpoint",
        Cause::WrongSecret => "the secret access key does not belong to the access key id: copy both again",
        Cause::Expired => "the temporary credentials are over: get new ones (`aws sso login`), or use a role",
        Cause::Denied => "the role's trust policy must name this caller (and --role-external-id where it asks for one), and the caller needs sts:AssumeRole on the role: see docs/iam.md",
        Cause::NoSource => "give the task, pod or instance a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: docs/iam.md lists the places",
        Cause::Unreachable => "STS did not answer as STS does: look at the network, at the proxy's variables (HTTPS_PROXY, NO_PROXY), or name a PrivateLink endpoint by --sts-endpoint; behind TLS inspection set --ca-file",
    })
}
