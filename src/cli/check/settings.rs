//! What the settings alone tell.

use std::time::Duration;

use tokio::net::TcpListener;

use super::table::{Row, Table};
use crate::cli::Sources;
use crate::cli::serve::bind_error;
use crate::healthlake::ValidationLevel;
use crate::settings::{HAPI_TIMEOUT, Plan, Validation};

/// An ALB ends idle connections after 60 s unless told otherwise; ours must not end before.
const ALB_IDLE: Duration = Duration::from_secs(60);

/// A variable with a typo in its name is silently no setting at all.
pub(super) fn sources(table: &mut Table, sources: &Sources) {
    let from = match &sources.file {
        Some(file) => format!("from flags, LAKEHOOK_ variables and {}", file.path.display()),
        None => "from flags and LAKEHOOK_ variables; no --config file".to_owned(),
    };
    let unknown = sources.unknown_variables();
    table.add(if unknown.is_empty() {
        Row::ok("settings", from)
    } else {
        let names = unknown.join(", ");
        Row::warning("settings", format!("{from}; not known and without effect: {names}"))
            .advise("correct the name or remove the variable; `lakehook serve --help` lists all")
    });
}

pub(super) async fn listening(table: &mut Table, plan: &Plan) {
    let listen = plan.settings.listen.listen;
    let reachable = !listen.ip().is_loopback();
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    let endpoint = format!("deliveries are taken at {scheme}://{listen}{}", plan.base_path);
    table.add(match TcpListener::bind(listen).await {
        Ok(_) => Row::ok("--listen", endpoint),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Row::ok("--listen", format!("{listen} is in use: by lakehook itself if it runs already"))
        }
        Err(error) => Row::failed("--listen", bind_error("--listen", listen, &error)),
    });

    table.add(match (plan.tls.is_some(), reachable) {
        (true, _) => Row::ok("TLS", "lakehook's own; the certificate fits its key"),
        (false, false) => Row::ok("TLS", "none, and none needed on loopback"),
        (false, true) => Row::warning("TLS", format!("none, and {listen} can be reached from other machines"))
            .advise(
                "set --tls-cert and --tls-key, or let a load balancer end TLS and keep the way from there private",
            ),
    });

    let ways = ways_in(plan);
    table.add(if !ways.is_empty() {
        let also = if plan.settings.callers.allow_anonymous {
            "; yet --allow-anonymous lets everybody in"
        } else {
            ""
        };
        let row = format!("{}{also}", ways.join(", "));
        if also.is_empty() {
            Row::ok("who may call", row)
        } else {
            Row::warning("who may call", row)
                .advise("remove --allow-anonymous, or the secrets that do nothing")
        }
    } else if reachable {
        Row::warning("who may call", "anyone who can reach the address: --allow-anonymous")
            .advise("set --token-file, unless a proxy in front authenticates")
    } else {
        Row::ok("who may call", "anyone on this machine: no secret is set, and the address is loopback")
    });

    let keep_alive = plan.settings.listen.keep_alive;
    let shown = humantime::format_duration(keep_alive);
    table.add(if keep_alive < ALB_IDLE {
        Row::warning("--keep-alive", format!("{shown} is shorter than the 60s after which an AWS ALB gives up an idle connection: it may send into one that lakehook is closing, and answer 502"))
            .advise("make it longer than the balancer's idle time limit: 75s")
    } else {
        Row::ok("--keep-alive", format!("{shown}; the balancer's idle time limit must be shorter"))
    });
}

fn ways_in(plan: &Plan) -> Vec<&'static str> {
    let callers = &plan.settings.callers;
    let ways = [
        (plan.token.is_some(), "bearer token (one is made at each start, for the sandbox)"),
        (!callers.token.is_empty() || !callers.token_file.is_empty(), "bearer token"),
        (callers.basic.is_some() || callers.basic_file.is_some(), "Basic"),
        (callers.hmac_secret.is_some() || callers.hmac_secret_file.is_some(), "Medplum's X-Signature"),
        (plan.settings.listen.tls_client_ca.is_some(), "client certificate"),
    ];
    ways.into_iter().filter_map(|(set, name)| set.then_some(name)).collect()
}

pub(super) fn deliveries(table: &mut Table, plan: &Plan) {
    let deadline = plan.settings.delivery.deadline;
    let shown = humantime::format_duration(deadline);
    table.add(if deadline >= HAPI_TIMEOUT {
        Row::warning("--deadline", format!("{shown}, but HAPI and Smile CDR hang up after 10s and send again while the first attempt is still at work"))
            .advise("set it below 10s: 8s")
    } else {
        Row::ok("--deadline", format!("{shown}, below the 10s after which HAPI hangs up"))
    });

    let drain = plan.settings.lifecycle.drain_timeout;
    if drain < deadline {
        let drain = humantime::format_duration(drain);
        table.add(
            Row::warning(
                "--drain-timeout",
                format!("{drain} is shorter than --deadline: at the end, deliveries may be cut"),
            )
            .advise("set it to the deadline or more: 15s"),
        );
    }

    table.add(match plan.settings.delivery.validation {
        Validation::Strict => {
            Row::ok("--validation", "strict: what is no valid R4 is answered 422 and not sent")
        }
        Validation::Structure => {
            Row::ok("--validation", "structure: names, shapes and cardinalities, no values")
        }
        Validation::Off => Row::ok("--validation", "off: HealthLake alone decides what is valid"),
    });

    let row = |level: &str, says: &str| Row::ok("HealthLake validation", format!("{level}: {says}"));
    let profiles = "HealthLake refuses a resource whose meta.profile names a profile that it does not know";
    table.add(match plan.settings.healthlake.healthlake_validation_level {
        None => row("not set, which is strict", profiles)
            .advise("if your CDR stamps its own profiles: --healthlake-validation-level structure-only"),
        Some(ValidationLevel::Strict) => {
            row("strict", profiles).advise("if your CDR stamps its own profiles, set it to structure-only")
        }
        Some(ValidationLevel::StructureOnly) => row("structure-only", "unknown profiles pass"),
        Some(ValidationLevel::Minimal) => {
            row("minimal", "HealthLake may store invalid resources, and marks them")
        }
    });
}
