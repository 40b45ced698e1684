//! Secrets, from values and files: of those who call, and ours at the CDR.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::{Settings, SettingsError};
use crate::cdr::Cdr;
use crate::healthlake::Trust;
use crate::receive::{Callers, Secrets, SecretsError, Sources};

/// A newcomer's first run should not fail for want of a token, nor be open to everyone.
pub(super) fn made_token(settings: &Settings) -> Option<String> {
    let none = !settings.callers.any_secret() && !settings.callers.allow_anonymous;
    (settings.sandbox && none && settings.listen.tls_client_ca.is_none())
        .then(|| uuid::Uuid::new_v4().simple().to_string())
}

pub(super) fn callers(settings: &Settings, token: Option<&str>) -> Result<Arc<Callers>, SettingsError> {
    let mut secrets: Secrets = settings.callers.secrets(settings.listen.tls_client_ca.is_some());
    secrets.tokens.values.extend(token.map(SecretString::from));
    let open = !settings.callers.any_secret() && token.is_none() && !secrets.client_certificate;
    if open && !secrets.allow_anonymous {
        let listen = settings.listen.listen;
        if !listen.ip().is_loopback() {
            return Err(SettingsError::new(
                "listen",
                format!(
                    "{listen} can be reached from other machines and no caller is authenticated: set --token-file (LAKEHOOK_TOKEN_FILE), --basic-file, --hmac-secret-file or --tls-client-ca, or say --allow-anonymous"
                ),
            ));
        }
        secrets.allow_anonymous = true;
    }
    let args = &settings.callers;
    let kinds = [
        (
            Secrets { tokens: secrets.tokens.clone(), ..Secrets::default() },
            args.token.is_empty(),
            ["token-file", "token"],
        ),
        (
            Secrets { basic: secrets.basic.clone(), ..Secrets::default() },
            args.basic.is_none(),
            ["basic-file", "basic"],
        ),
        (
            Secrets { hmac: secrets.hmac.clone(), ..Secrets::default() },
            args.hmac_secret.is_none(),
            ["hmac-secret-file", "hmac-secret"],
        ),
    ];
    // One kind after the other, so that the error can name the setting.
    for (kind, from_file, [file, value]) in kinds {
        let setting = if from_file { file } else { value };
        Callers::new(kind).map_err(|error| SettingsError::new(setting, secret_problem(&error)))?;
    }
    Callers::new(secrets).map_err(|error| SettingsError::new("token", secret_problem(&error)))
}

/// The tokens of those who may hand deliveries to the admin address.
pub(super) fn commanders(settings: &Settings) -> Result<Secrets, SettingsError> {
    let args = &settings.admin;
    let tokens = Sources {
        values: args.admin_token.iter().cloned().collect(),
        files: args.admin_token_file.iter().cloned().collect(),
    };
    let secrets = Secrets { tokens, ..Secrets::default() };
    let setting = if args.admin_token.is_some() { "admin-token" } else { "admin-token-file" };
    Callers::new(secrets.clone()).map_err(|error| SettingsError::new(setting, secret_problem(&error)))?;
    Ok(secrets)
}

fn secret_problem(error: &SecretsError) -> String {
    let advice = match error {
        SecretsError::Unreadable { .. } => "the file must be there and readable at start",
        SecretsError::Empty { .. } => "lines that are blank do not count",
        SecretsError::Short => "make one with `openssl rand -base64 32`",
        SecretsError::NotBasic => "write the user's name, a colon and the password, not their base64",
    };
    format!("{error}; {advice}")
}

pub(super) fn cdr(settings: &Settings, trust: &Trust) -> Result<Option<Cdr>, SettingsError> {
    let args = &settings.cdr;
    let Some(url) = &args.cdr_url else { return Ok(None) };
    let error = |problem: String| SettingsError::new("cdr-url", problem);
    let url = reqwest::Url::parse(url).map_err(|problem| {
        error(format!("is not a URL ({problem}); write it as https://cdr.example.org/fhir"))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
        return Err(error(
            "is not the http(s):// base URL of a FHIR server, such as https://cdr.example.org/fhir".into(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error(
            "carries a user name or password; use --cdr-basic (LAKEHOOK_CDR_BASIC) for them".into(),
        ));
    }
    let token = match (&args.cdr_token, &args.cdr_token_file) {
        (Some(token), _) => Some(token.expose_secret().to_owned()),
        (None, Some(path)) => Some(token_of(path)?),
        (None, None) => None,
    };
    let authorization = token.map(|token| format!("Bearer {token}")).or_else(|| {
        let basic = args.cdr_basic.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(basic.expose_secret())))
    });
    let authorization = authorization
        .map(|value| {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| SettingsError::new("cdr-token", "can't stand in a header"))?;
            value.set_sensitive(true);
            Ok(value)
        })
        .transpose()?;
    let limit = settings.delivery.max_body;
    Cdr::new(&url, authorization, limit, trust).map(Some).map_err(|problem| error(problem.to_string()))
}

fn token_of(path: &Path) -> Result<String, SettingsError> {
    let error =
        |problem: String| SettingsError::new("cdr-token-file", format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|problem| error(problem.to_string()))?;
    match text.trim() {
        "" => Err(error("holds no token".into())),
        token => Ok(token.to_owned()),
    }
}
