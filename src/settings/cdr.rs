//! The CDR as a server that can be asked, and how we authenticate there.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{Plan, Settings, SettingsError};
use crate::cdr::{Authorization, Cdr, ClientSecret, OAuth, Secret, SigningKey, TokenUrl};
use crate::healthlake::{Trust, is_loopback};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The CDR's own API")]
pub struct CdrArgs {
    /// FHIR base URL of the CDR, for what only it can tell: the content of an id-only notification
    #[arg(long, env = "LAKEHOOK_CDR_URL", value_name = "URL")]
    pub cdr_url: Option<String>,
    /// Bearer token for it
    #[arg(long, env = "LAKEHOOK_CDR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub cdr_token: Option<SecretString>,
    /// File with the bearer token for it; read again when it changes
    #[arg(long, env = "LAKEHOOK_CDR_TOKEN_FILE", value_name = "FILE")]
    pub cdr_token_file: Option<PathBuf>,
    /// Basic authentication for it
    #[arg(long, env = "LAKEHOOK_CDR_BASIC", value_name = "USER:PASSWORD", hide_env_values = true)]
    pub cdr_basic: Option<SecretString>,
    /// OAuth2 client credentials for it: the client's id
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_CLIENT_ID", value_name = "ID")]
    pub cdr_oauth_client_id: Option<String>,
    /// The client's secret
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub cdr_oauth_client_secret: Option<SecretString>,
    /// File with the client's secret; read for each token
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub cdr_oauth_client_secret_file: Option<PathBuf>,
    /// SMART backend services: file with the client's private key, PEM or JWK, RSA (RS384) or P-384 (ES384)
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_KEY_FILE", value_name = "FILE")]
    pub cdr_oauth_key_file: Option<PathBuf>,
    /// Its kid at the CDR [default: the JWK's own]
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_KEY_ID", value_name = "KID")]
    pub cdr_oauth_key_id: Option<String>,
    /// Where tokens are given out [default: as the CDR's .well-known/smart-configuration says]
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_TOKEN_URL", value_name = "URL")]
    pub cdr_oauth_token_url: Option<String>,
    /// What is asked for [default: system/*.read, or system/*.rs where the CDR takes SMART v2 scopes only; and
    /// Subscriptions, where they are written]
    #[arg(long, env = "LAKEHOOK_CDR_OAUTH_SCOPE", value_name = "SCOPES")]
    pub cdr_oauth_scope: Option<String>,
}

pub(super) fn cdr(settings: &Settings, trust: &Trust) -> Result<Option<Cdr>, SettingsError> {
    let args = &settings.cdr;
    let Some(url) = &args.cdr_url else { return Ok(None) };
    let error = |problem: String| SettingsError::new("cdr-url", problem);
    let url = Url::parse(url).map_err(|problem| {
        error(format!("is not a URL ({problem}); write it as https://cdr.example.org/fhir"))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(error(
            "is not the http(s):// base URL of a FHIR server, such as https://cdr.example.org/fhir".into(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error(
            "carries a user name or password; use --cdr-basic (LAKEHOOK_CDR_BASIC) for them".into(),
        ));
    }
    let authorization = authorization(settings, &url, trust)?;
    let limit = settings.delivery.max_body;
    Cdr::new(&url, authorization, limit, trust).map(Some).map_err(|problem| error(problem.to_string()))
}

/// `together` has seen to it that one kind at most is given.
fn authorization(settings: &Settings, base: &Url, trust: &Trust) -> Result<Authorization, SettingsError> {
    let args = &settings.cdr;
    if let Some(token) = &args.cdr_token {
        return Authorization::bearer(token.expose_secret())
            .map_err(|problem| SettingsError::new("cdr-token", problem));
    }
    if let Some(path) = &args.cdr_token_file {
        return Authorization::token_file(path).map_err(|problem| {
            SettingsError::new("cdr-token-file", format!("{}: {problem}", path.display()))
        });
    }
    if let Some(basic) = &args.cdr_basic {
        return Authorization::basic(basic.expose_secret())
            .map_err(|problem| SettingsError::new("cdr-basic", problem));
    }
    let Some(client_id) = &args.cdr_oauth_client_id else { return Ok(Authorization::None) };
    let token_url = match &args.cdr_oauth_token_url {
        Some(text) => TokenUrl::Given(token_url(text, settings.healthlake.allow_insecure_upstream)?),
        None => TokenUrl::Discovered { base: base.clone() },
    };
    let secret = client_secret(args)?;
    let oauth = OAuth::new(client_id.clone(), secret, token_url, Plan::clock(), trust)
        .map_err(|problem| SettingsError::new("cdr-oauth-token-url", problem.to_string()))?
        .scope(args.cdr_oauth_scope.clone())
        .writes(written(settings))
        .allow_insecure(settings.healthlake.allow_insecure_upstream);
    Ok(Authorization::OAuth(Arc::new(oauth)))
}

/// Types that lakehook writes at the CDR.
fn written(settings: &Settings) -> Vec<String> {
    let (subscription, canary) = (&settings.subscription, &settings.canary);
    let subscriptions = subscription.manage_subscription.then(|| "Subscription".to_owned());
    let canaries = canary.canary_every.map(|_| canary.canary_resource.resource_type().to_owned());
    subscriptions.into_iter().chain(canaries).collect()
}

fn token_url(text: &str, allow_insecure: bool) -> Result<Url, SettingsError> {
    let error = |problem: String| SettingsError::new("cdr-oauth-token-url", problem);
    let url = Url::parse(text).map_err(|problem| error(format!("is not a URL ({problem})")))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_insecure || url.host_str().is_some_and(is_loopback) => Ok(url),
        _ => Err(error(
            "is not an https:// URL, and the client's secret would go there in clear; http:// is for loopback, or with --allow-insecure-upstream".into(),
        )),
    }
}

/// Files are read once here, so that what is wrong with them is said at the start.
fn client_secret(args: &CdrArgs) -> Result<ClientSecret, SettingsError> {
    if let Some(file) = &args.cdr_oauth_key_file {
        let id = args.cdr_oauth_key_id.clone();
        SigningKey::from_file(file, id.as_deref())
            .map_err(|problem| SettingsError::new("cdr-oauth-key-file", problem))?;
        return Ok(ClientSecret::Key { file: file.clone(), id });
    }
    let secret = match (&args.cdr_oauth_client_secret, &args.cdr_oauth_client_secret_file) {
        (Some(value), _) => Secret::Value(value.clone()),
        (None, Some(file)) => Secret::File(file.clone()),
        (None, None) => {
            return Err(SettingsError::new("cdr-oauth-client-id", "needs --cdr-oauth-client-secret-file"));
        }
    };
    secret.read().map_err(|problem| SettingsError::new("cdr-oauth-client-secret-file", problem))?;
    Ok(ClientSecret::Secret(secret))
}
