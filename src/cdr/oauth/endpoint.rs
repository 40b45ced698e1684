//! The token endpoint: where it is, what is sent there, what comes back.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{ClientSecret, OAuth, TokenUrl};
use crate::cdr::SigningKey;
use crate::cdr::assertion::assertion;
use crate::cdr::authorization::header;
use crate::healthlake::is_loopback;

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: usize = 1 << 20;
/// What is not said to last longer is renewed as if it lasted this long.
const LIFETIME: Duration = Duration::from_secs(300);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const WELL_KNOWN: &str = ".well-known/smart-configuration";

/// What the discovery told, or what is taken without one.
#[derive(Clone)]
pub(super) struct Known {
    token_url: Url,
    /// The secret goes into the form, not into Basic.
    in_form: bool,
    /// `system/*.rs` instead of `system/*.read`
    scopes_v2: bool,
}

pub(super) struct Granted {
    pub access_token: SecretString,
    pub lifetime: Duration,
    /// Where it came from, for errors.
    pub from: String,
}

/// Names the setting; shows no secret.
pub(super) struct Failure {
    pub problem: String,
    /// A moment later it may be otherwise.
    pub passing: bool,
}

impl Failure {
    fn lasting(problem: String) -> Self {
        Self { problem, passing: false }
    }
}

impl OAuth {
    /// One request for a token, and before the first one the discovery.
    pub(super) async fn ask(&self) -> Result<Granted, Failure> {
        let known = self.endpoint().await?;
        let from = format!("--cdr-oauth-token-url: {}", shown(&known.token_url));
        let request = self.request(&known)?;
        let (status, body) = self.answer(request, &from).await?;
        if status != 200 {
            return Err(self.refused(&from, status, &body));
        }
        granted(from, &body)
    }

    fn request(&self, known: &Known) -> Result<RequestBuilder, Failure> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("scope", &self.asked_scope(known.scopes_v2));
        let mut request = self.http.post(known.token_url.clone());
        match &self.secret {
            ClientSecret::Secret(secret) => {
                let secret = secret.read().map_err(|problem| {
                    Failure::lasting(format!("--cdr-oauth-client-secret-file: {problem}"))
                })?;
                let secret = secret.expose_secret();
                if known.in_form {
                    form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret);
                } else {
                    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                    let basic = STANDARD.encode(format!("{}:{}", encode(&self.client_id), encode(secret)));
                    let basic = header(format!("Basic {basic}"))
                        .map_err(|problem| Failure::lasting(format!("--cdr-oauth-client-id {problem}")))?;
                    request = request.header(AUTHORIZATION, basic);
                }
            }
            ClientSecret::Key { file, id } => {
                let key = SigningKey::from_file(file, id.as_deref())
                    .map_err(|problem| Failure::lasting(format!("--cdr-oauth-key-file: {problem}")))?;
                let signed = assertion(&key, &self.client_id, known.token_url.as_str(), (self.clock)());
                let signed = signed.ok_or_else(|| {
                    Failure::lasting("--cdr-oauth-key-file: the assertion could not be signed".into())
                })?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &signed);
            }
        }
        Ok(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish()))
    }

    fn asked_scope(&self, v2: bool) -> String {
        if let Some(scope) = &self.scope {
            return scope.clone();
        }
        let (read, write) = if v2 { ("system/*.rs", "cuds") } else { ("system/*.read", "write") };
        let written = self.writes.iter().map(|name| format!(" system/{name}.{write}"));
        written.fold(read.to_owned(), |scopes, scope| scopes + &scope)
    }

    async fn endpoint(&self) -> Result<Known, Failure> {
        let base = match &self.token_url {
            TokenUrl::Given(url) => {
                return Ok(Known { token_url: url.clone(), in_form: false, scopes_v2: false });
            }
            TokenUrl::Discovered { base } => base,
        };
        if let Some(known) = self.known().clone() {
            return Ok(known);
        }
        let mut url = base.clone();
        url.set_path(&format!("{}/{WELL_KNOWN}", base.path().trim_end_matches('/')));
        let from = format!("{} (by which --cdr-oauth-token-url is found)", shown(&url));
        let (status, body) = self.answer(self.http.get(url), &from).await?;
        let advice = "set --cdr-oauth-token-url to where the CDR gives out tokens";
        if status != 200 {
            let passing = status == 429 || status >= 500;
            return Err(Failure { problem: format!("{from} answered {status}; {advice}"), passing });
        }
        let configuration: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token_url = configuration["token_endpoint"].as_str().and_then(|text| Url::parse(text).ok());
        let Some(token_url) = token_url else {
            return Err(Failure::lasting(format!("{from} names no token_endpoint; {advice}")));
        };
        let fine = match token_url.scheme() {
            "https" => true,
            "http" => self.allow_insecure || token_url.host_str().is_some_and(is_loopback),
            _ => false,
        };
        if !fine {
            return Err(Failure::lasting(format!(
                "{from} names {}, which is not https://: the client's secret would go there in clear; {advice}",
                shown(&token_url)
            )));
        }
        let has = |list: &str, word: &str| {
            configuration[list].as_array().is_some_and(|words| words.iter().any(|found| found == word))
        };
        let methods = "token_endpoint_auth_methods_supported";
        let known = Known {
            token_url,
            in_form: has(methods, "client_secret_post") && !has(methods, "client_secret_basic"),
            scopes_v2: has("capabilities", "permission-v2") && !has("capabilities", "permission-v1"),
        };
        *self.known() = Some(known.clone());
        Ok(known)
    }

    async fn answer(&self, request: RequestBuilder, from: &str) -> Result<(u16, Vec<u8>), Failure> {
        let asked = async {
            let mut response = request.header(ACCEPT, "application/json").send().await?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while body.len() < LARGEST {
                let Some(chunk) = response.chunk().await? else { break };
                body.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>((status, body))
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failure { problem: format!("{from} could not be reached"), passing: true }),
            Err(_) => Err(Failure { problem: format!("{from} did not answer within 10s"), passing: true }),
        }
    }

    /// `error` is one of OAuth2's codes; its description may quote what was sent, and is left out.
    fn refused(&self, from: &str, status: u16, body: &[u8]) -> Failure {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = body["error"].as_str().filter(|code| {
            (1..=40).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        let key = matches!(self.secret, ClientSecret::Key { .. });
        let advice = match code {
            Some("invalid_scope") => "; set --cdr-oauth-scope to what the CDR grants this client",
            Some("unauthorized_client" | "unsupported_grant_type") => {
                "; let the CDR's authorization server allow client credentials for --cdr-oauth-client-id"
            }
            _ if status >= 500 || status == 429 => "",
            _ if key => {
                "; compare --cdr-oauth-client-id, and the public key that the CDR has for the kid of --cdr-oauth-key-file"
            }
            _ => "; compare --cdr-oauth-client-id and --cdr-oauth-client-secret(-file)",
        };
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        Failure {
            problem: format!("{from} answered {status}{code}{advice}"),
            passing: status == 429 || status >= 500,
        }
    }
}

fn granted(from: String, body: &[u8]) -> Result<Granted, Failure> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(token) = body["access_token"].as_str().filter(|token| !token.is_empty()) else {
        return Err(Failure::lasting(format!("{from} answered 200, but with no access_token in JSON")));
    };
    let kind = body["token_type"].as_str().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Failure::lasting(format!("{from} gives out tokens that are no bearer tokens")));
    }
    // Some write the number as a text.
    let expires = &body["expires_in"];
    let seconds = expires.as_u64().or_else(|| expires.as_str()?.parse().ok());
    Ok(Granted { access_token: token.into(), lifetime: seconds.map_or(LIFETIME, Duration::from_secs), from })
}

/// Without user and query.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
