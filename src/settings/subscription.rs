//! lakehook's own Subscriptions at the CDR.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::units::duration;
use super::{Settings, SettingsError, build, together};
use crate::cdr::subscription::{Criteria, Wish};
use crate::cdr::{Cdr, Server};
use crate::healthlake::is_loopback;
use crate::receive::Callers;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Subscription at the CDR")]
pub struct SubscriptionArgs {
    /// Create or mend lakehook's Subscriptions at the CDR at the start, and watch them
    #[arg(long, env = "LAKEHOOK_MANAGE_SUBSCRIPTION")]
    pub manage_subscription: bool,
    /// lakehook's base URL as the CDR reaches it [default: from --listen and --base-path]
    #[arg(long, alias = "endpoint", env = "LAKEHOOK_SUBSCRIPTION_ENDPOINT", value_name = "URL")]
    pub subscription_endpoint: Option<String>,
    /// Its id, or where there are several what their names begin with [default: lakehook; Smile CDR: endpoint-awshealthlake-out]
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_ID", value_name = "ID", value_parser = id)]
    pub subscription_id: Option<String>,
    /// [*], [Patient,Observation], or a search
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_CRITERIA", value_name = "CRITERIA", default_value = "[*]", value_parser = Criteria::parse)]
    pub subscription_criteria: Criteria,
    /// channel.payload: application/fhir+json or application/fhir+xml
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_PAYLOAD", value_name = "TYPE", default_value = "application/fhir+json", value_parser = ["application/fhir+json", "application/fhir+xml"])]
    pub subscription_payload: String,
    /// Ask for deletes to be sent
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_DELETES", value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    pub subscription_deletes: bool,
    /// Have the newest version sent instead of the one that changed [default: true for Smile CDR, else false]
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_LATEST", value_name = "BOOL")]
    pub subscription_latest: Option<bool>,
    /// Have meta.versionId left out: order is decided by meta.lastUpdated then
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_STRIP_VERSIONS", value_name = "BOOL", default_value = "false", action = clap::ArgAction::Set)]
    pub subscription_strip_versions: bool,
    /// How often the CDR tries again [default: Smile CDR 20, Medplum 18, else the CDR's own]
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_RETRIES", value_name = "N")]
    pub subscription_retries: Option<u32>,
    /// Canonical URL of an R4 backport topic to subscribe to
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_TOPIC", value_name = "URL")]
    pub subscription_topic: Option<String>,
    /// Which kind of server the CDR is [default: as its CapabilityStatement says]
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_SERVER", value_name = "KIND", value_enum)]
    pub subscription_server: Option<Server>,
    /// With --manage-subscription: how often the status is read
    #[arg(long, env = "LAKEHOOK_SUBSCRIPTION_CHECK_EVERY", value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub subscription_check_every: Duration,
}

fn id(text: &str) -> Result<String, String> {
    // Types are appended where there are several.
    match crate::delivery::is_id(text) && text.len() <= 32 {
        true => Ok(text.to_owned()),
        false => Err("write 1 to 32 of A-Z a-z 0-9 - .".to_owned()),
    }
}

/// What the commands about Subscriptions need; HealthLake is not among it.
pub struct Subscribing {
    pub cdr: Cdr,
    pub wish: Wish,
    pub base_path: Box<str>,
    pub callers: Arc<Callers>,
    pub settings: Settings,
    /// The endpoint is on loopback, which only a CDR on this machine reaches.
    pub unreachable: bool,
}

pub fn subscribing(mut settings: Settings) -> Result<Subscribing, SettingsError> {
    if settings.cdr.cdr_url.is_none() {
        return Err(missing());
    }
    // What is asked for at the CDR's token endpoint follows it.
    settings.subscription.manage_subscription = true;
    together::check(&settings)?;
    let trust = build::trust(&settings)?;
    let base_path = build::base_path(&settings.listen.base_path)?;
    let cdr = super::cdr::cdr(&settings, &trust)?.ok_or_else(missing)?;
    let callers = super::secrets::callers(&settings, None)?;
    let wish = wish(&settings, None, settings.listen.listen)?;
    let unreachable = on_loopback(&wish.endpoint) && !on_loopback(cdr.base());
    Ok(Subscribing { cdr, wish, base_path, callers, settings, unreachable })
}

fn missing() -> SettingsError {
    SettingsError::new("cdr-url", "is missing: set it to the CDR's FHIR base URL")
}

fn on_loopback(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_loopback))
}

/// What is wrong with the wish is said before anything is bound; the port that the system will choose is not
/// known then.
pub(super) fn try_out(settings: &Settings, made: Option<&str>) -> Result<(), SettingsError> {
    if !settings.subscription.manage_subscription {
        return Ok(());
    }
    let mut address = settings.listen.listen;
    if address.port() == 0 {
        address.set_port(1);
    }
    wish(settings, made, address).map(|_| ())
}

/// `made` is the token that was made for the sandbox; `address` where lakehook listens.
pub fn wish(settings: &Settings, made: Option<&str>, address: SocketAddr) -> Result<Wish, SettingsError> {
    let args = &settings.subscription;
    Ok(Wish {
        id: args.subscription_id.clone(),
        criteria: args.subscription_criteria.clone(),
        endpoint: endpoint(settings, address)?,
        payload: args.subscription_payload.clone(),
        authorization: authorization(settings, made)?,
        hmac_secret: hmac_secret(settings)?,
        send_deletes: args.subscription_deletes,
        deliver_latest: args.subscription_latest,
        strip_version_ids: args.subscription_strip_versions,
        retry_count: args.subscription_retries,
        topic: args.subscription_topic.clone(),
        server: args.subscription_server,
    })
}

fn endpoint(settings: &Settings, address: SocketAddr) -> Result<String, SettingsError> {
    let error = |problem: &str| SettingsError::new("subscription-endpoint", problem);
    if let Some(given) = &settings.subscription.subscription_endpoint {
        let url = reqwest::Url::parse(given)
            .map_err(|_| error("is not a URL; write it as https://lakehook.example.org/fhir"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(error(
                "is neither http:// nor https://; write it as https://lakehook.example.org/fhir",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(error(
                "has a query: the CDR appends the resource's path behind it; a token comes from --token-file",
            ));
        }
        return Ok(given.trim_end_matches('/').to_owned());
    }
    if address.ip().is_unspecified() {
        return Err(error(
            "is missing: lakehook listens on every address, and under which name the CDR reaches it can't be told from here",
        ));
    }
    if address.port() == 0 {
        return Err(error("is missing: the port of --listen is 0, any free one"));
    }
    let scheme = if settings.listen.tls_cert.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}{}", build::base_path(&settings.listen.base_path)?))
}

/// The first secret of those that lakehook takes: a token, else Basic.
fn authorization(settings: &Settings, made: Option<&str>) -> Result<Option<SecretString>, SettingsError> {
    let callers = &settings.callers;
    let tokens =
        [callers.token.first().map(|token| token.expose_secret().to_owned()), made.map(str::to_owned)];
    let token = match tokens.into_iter().flatten().next() {
        Some(token) => Some(token),
        None => callers.token_file.first().map(|path| first_line("token-file", path)).transpose()?,
    };
    if let Some(token) = token {
        return Ok(Some(SecretString::from(format!("Bearer {token}"))));
    }
    let basic = match (&callers.basic, &callers.basic_file) {
        (Some(basic), _) => Some(basic.expose_secret().to_owned()),
        (None, Some(path)) => Some(first_line("basic-file", path)?),
        (None, None) => None,
    };
    Ok(basic.map(|basic| SecretString::from(format!("Basic {}", STANDARD.encode(basic)))))
}

fn hmac_secret(settings: &Settings) -> Result<Option<SecretString>, SettingsError> {
    let callers = &settings.callers;
    match (&callers.hmac_secret, &callers.hmac_secret_file) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(path)) => first_line("hmac-secret-file", path).map(|line| Some(line.into())),
        (None, None) => Ok(None),
    }
}

fn first_line(setting: &'static str, path: &PathBuf) -> Result<String, SettingsError> {
    let error = |problem: String| SettingsError::new(setting, format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|problem| error(problem.to_string()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| error("holds no secret".into()))
}
