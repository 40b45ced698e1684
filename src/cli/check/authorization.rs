//! Would lakehook let in whoever comes with a Subscription's headers?

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::table::Row;
use crate::cdr::subscription::extensions::find;
use crate::receive::{Caller, Callers};
use crate::settings::Plan;

/// What lakehook asks of those who call.
pub(super) struct Wants<'a> {
    pub(super) base_path: &'a str,
    pub(super) callers: &'a Callers,
    /// A client certificate may do instead of a header.
    pub(super) certificate: bool,
    /// The token is made anew at each start of the sandbox: no Subscription can know it.
    pub(super) made_token: bool,
    pub(super) tls: bool,
}

impl<'a> Wants<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self {
            base_path: &plan.base_path,
            callers: &plan.callers,
            certificate: plan.settings.listen.tls_client_ca.is_some(),
            made_token: plan.token.is_some(),
            tls: plan.tls.is_some(),
        }
    }
}

pub(super) fn authorization(subscription: &Value, wants: &Wants<'_>) -> Row {
    let what = "Authorization";
    let mut headers = HeaderMap::new();
    for line in subscription["channel"]["header"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some((name, value)) = line.split_once(':') else {
            return Row::failed(what, "a line of channel.header has no colon")
                .advise("write it as \"Authorization: Bearer TOKEN\"");
        };
        if let (Ok(name), Ok(value)) =
            (name.trim().parse::<HeaderName>(), HeaderValue::from_str(value.trim()))
        {
            headers.append(name, value);
        }
    }
    let given = headers.contains_key(AUTHORIZATION);
    // Nothing at all is enough: whoever calls is let in.
    if wants.callers.head(&HeaderMap::new(), false) == Caller::Known {
        return Row::ok(
            what,
            if given { "a header is sent; lakehook asks for none" } else { "none sent, none asked for" },
        );
    }
    if wants.made_token {
        return Row::skipped(
            what,
            "the sandbox makes another token at each start; set --token to have one compared",
        );
    }
    if wants.callers.head(&headers, false) == Caller::Known {
        return Row::ok(what, "lakehook knows what channel.header sends");
    }
    let signs = find(subscription, "/subscription-secret").is_some();
    let mut signed = HeaderMap::new();
    signed.insert("x-signature", HeaderValue::from_static("00"));
    if signs && wants.callers.head(&signed, false) == Caller::Signs {
        return Row::ok(
            what,
            "Medplum's X-Signature; whether the secrets are equal shows at the first delivery",
        );
    }
    match (given, wants.certificate) {
        (true, _) => Row::failed(
            what,
            "lakehook does not know what channel.header sends: each delivery would be answered 401",
        )
        .advise("compare it with --token, --token-file or --basic: one blank after Bearer, no quotes"),
        (false, true) => {
            Row::warning(what, "none sent: the CDR must show a client certificate of --tls-client-ca")
        }
        (false, false) => {
            Row::failed(what, "none sent, but lakehook wants one: each delivery would be answered 401")
                .advise("add \"Authorization: Bearer TOKEN\" to channel.header")
        }
    }
}
