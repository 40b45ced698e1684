//! What goes together and what does not. Checked here and not by clap, which takes no notice of the values of
//! the file: a certificate there without its key would be plain HTTP without a word.

use super::{CdrArgs, Settings, SettingsError};

pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let Settings { listen, callers, credentials, cdr, .. } = settings;

    let needs = [
        ("tls-cert", listen.tls_cert.is_some(), "tls-key", listen.tls_key.is_some()),
        ("tls-key", listen.tls_key.is_some(), "tls-cert", listen.tls_cert.is_some()),
        ("tls-client-ca", listen.tls_client_ca.is_some(), "tls-cert", listen.tls_cert.is_some()),
        (
            "role-session-duration",
            credentials.role_session_duration.is_some(),
            "role-arn",
            credentials.role_arn.is_some() || settings.sandbox,
        ),
        (
            "role-external-id",
            credentials.role_external_id.is_some(),
            "role-arn",
            credentials.role_arn.is_some() || settings.sandbox,
        ),
        ("cdr-oauth-client-id", cdr.cdr_oauth_client_id.is_some(), "cdr-url", cdr.cdr_url.is_some()),
        ("canary-every", settings.canary.canary_every.is_some(), "cdr-url", cdr.cdr_url.is_some()),
        ("manage-subscription", settings.subscription.manage_subscription, "cdr-url", cdr.cdr_url.is_some()),
        (
            "cdr-oauth-token-url",
            cdr.cdr_oauth_token_url.is_some(),
            "cdr-oauth-client-id",
            cdr.cdr_oauth_client_id.is_some(),
        ),
        (
            "cdr-oauth-client-secret",
            cdr.cdr_oauth_client_secret.is_some(),
            "cdr-oauth-client-id",
            cdr.cdr_oauth_client_id.is_some(),
        ),
        (
            "cdr-oauth-client-secret-file",
            cdr.cdr_oauth_client_secret_file.is_some(),
            "cdr-oauth-client-id",
            cdr.cdr_oauth_client_id.is_some(),
        ),
        (
            "cdr-oauth-key-file",
            cdr.cdr_oauth_key_file.is_some(),
            "cdr-oauth-client-id",
            cdr.cdr_oauth_client_id.is_some(),
        ),
        (
            "cdr-oauth-key-id",
            cdr.cdr_oauth_key_id.is_some(),
            "cdr-oauth-key-file",
            cdr.cdr_oauth_key_file.is_some(),
        ),
        (
            "cdr-oauth-scope",
            cdr.cdr_oauth_scope.is_some(),
            "cdr-oauth-client-id",
            cdr.cdr_oauth_client_id.is_some(),
        ),
    ];
    for (setting, given, other, present) in needs {
        if given && !present {
            return Err(SettingsError::new(setting, format!("needs --{other} as well")));
        }
    }

    for (setting, time) in [
        ("canary-every", settings.canary.canary_every),
        ("canary-timeout", Some(settings.canary.canary_timeout)),
    ] {
        if time.is_some_and(|time| time.is_zero()) {
            return Err(SettingsError::new(setting, "is no time; write it as 5m"));
        }
    }

    let secrets = [
        ("token", !callers.token.is_empty(), "token-file", !callers.token_file.is_empty()),
        ("basic", callers.basic.is_some(), "basic-file", callers.basic_file.is_some()),
        (
            "hmac-secret",
            callers.hmac_secret.is_some(),
            "hmac-secret-file",
            callers.hmac_secret_file.is_some(),
        ),
        (
            "admin-token",
            settings.admin.admin_token.is_some(),
            "admin-token-file",
            settings.admin.admin_token_file.is_some(),
        ),
        ("cdr-token", cdr.cdr_token.is_some(), "cdr-token-file", cdr.cdr_token_file.is_some()),
        (
            "cdr-oauth-client-secret",
            cdr.cdr_oauth_client_secret.is_some(),
            "cdr-oauth-client-secret-file",
            cdr.cdr_oauth_client_secret_file.is_some(),
        ),
    ];
    for (value, given, file, also) in secrets {
        if given && also {
            let several = match value {
                "token" => "; to rotate, repeat --token, or put both tokens into the file, one a line",
                _ => "",
            };
            let problem = format!(
                "is given and --{value} too: a secret comes from a value or a file, never both{several}"
            );
            return Err(SettingsError::new(file, problem).with(value));
        }
    }

    one_kind_at_the_cdr(cdr)
}

/// There is one Authorization header.
fn one_kind_at_the_cdr(cdr: &CdrArgs) -> Result<(), SettingsError> {
    let kinds = [
        ("cdr-basic", cdr.cdr_basic.is_some()),
        ("cdr-token", cdr.cdr_token.is_some()),
        ("cdr-token-file", cdr.cdr_token_file.is_some()),
        ("cdr-oauth-client-id", cdr.cdr_oauth_client_id.is_some()),
    ];
    let mut given = kinds.into_iter().filter_map(|(setting, given)| given.then_some(setting));
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let problem =
            format!("is given and --{second} too: there is one Authorization header, so give one of them");
        return Err(SettingsError::new(first, problem).with(second));
    }

    let secret = cdr.cdr_oauth_client_secret.is_some() || cdr.cdr_oauth_client_secret_file.is_some();
    if secret && cdr.cdr_oauth_key_file.is_some() {
        let value = match cdr.cdr_oauth_client_secret {
            Some(_) => "cdr-oauth-client-secret",
            None => "cdr-oauth-client-secret-file",
        };
        let problem = format!("is given and --{value} too: the client shows who it is by one of them");
        return Err(SettingsError::new("cdr-oauth-key-file", problem).with(value));
    }
    if cdr.cdr_oauth_client_id.is_some() && !secret && cdr.cdr_oauth_key_file.is_none() {
        return Err(SettingsError::new(
            "cdr-oauth-client-id",
            "needs --cdr-oauth-client-secret-file, or --cdr-oauth-key-file (SMART backend services)",
        ));
    }
    Ok(())
}
