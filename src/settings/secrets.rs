//! Secrets of those who call, from values and files.

use std::sync::Arc;

use secrecy::SecretString;

use super::{Settings, SettingsError, on_lambda};
use crate::receive::{Callers, Secrets, SecretsError, Sources};

/// A newcomer's first run should not fail for want of a token, nor be open to everyone.
pub(super) fn made_token(settings: &Settings) -> Option<String> {
    let none = !settings.callers.any_secret() && !settings.callers.allow_anonymous;
    (settings.sandbox && none && settings.listen.tls_client_ca.is_none())
        .then(|| uuid::Uuid::new_v4().simple().to_string())
}

pub(super) fn callers(settings: &Settings, token: Option<&str>) -> Result<Arc<Callers>, SettingsError> {
    let verified = on_lambda() && settings.lambda.lambda_client_certificate;
    let mut secrets: Secrets = settings.callers.secrets(settings.listen.tls_client_ca.is_some() || verified);
    secrets.tokens.values.extend(token.map(SecretString::from));
    let open = !settings.callers.any_secret() && token.is_none() && !secrets.client_certificate;
    if open && !secrets.allow_anonymous {
        if on_lambda() {
            return Err(SettingsError::new(
                "token",
                "is not set, and nothing else authenticates the CDR, though everybody can reach a Function URL or an API: set LAKEHOOK_TOKEN, LAKEHOOK_BASIC, LAKEHOOK_HMAC_SECRET or LAKEHOOK_LAMBDA_CLIENT_CERTIFICATE, or LAKEHOOK_ALLOW_ANONYMOUS=true where AWS_IAM or an authorizer lets nobody else in",
            ));
        }
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
