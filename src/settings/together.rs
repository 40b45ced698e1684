//! What goes together and what does not. Checked here and not by clap, which takes no notice of the values of
//! the file: a certificate there without its key would be plain HTTP without a word.

use super::{Settings, SettingsError};

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
    ];
    for (setting, given, other, present) in needs {
        if given && !present {
            return Err(SettingsError::new(setting, format!("needs --{other} as well")));
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

    let token = if cdr.cdr_token.is_some() { "cdr-token" } else { "cdr-token-file" };
    if cdr.cdr_basic.is_some() && (cdr.cdr_token.is_some() || cdr.cdr_token_file.is_some()) {
        let problem =
            format!("is given and --{token} too: there is one Authorization header, so give one of them");
        return Err(SettingsError::new("cdr-basic", problem).with(token));
    }
    Ok(())
}
