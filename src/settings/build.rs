//! From settings to what the rooms take, cross-checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;

use super::cdr::cdr;
use super::secrets::{callers, commanders, made_token};
use super::{DeadLetterStore, Settings, SettingsError, lambda, on_lambda, subscription, together};
use crate::cdr::Cdr;
use crate::deadletter::SealKeys;
use crate::filter::Filter;
use crate::healthlake::{Credentials, Endpoint, Options, Role, Source, Trust};
use crate::receive::{Callers, Files, Limits, Listening, Secrets, Tls};
use crate::sandbox::Config as SandboxConfig;
use crate::validate::Validator;

/// Everything `serve` needs, checked as far as can be without asking AWS.
pub struct Plan {
    pub settings: Settings,
    pub base_path: Box<str>,
    pub endpoint: Endpoint,
    pub trust: Trust,
    pub source: Source,
    pub callers: Arc<Callers>,
    pub tls: Option<Arc<Tls>>,
    pub validator: Arc<Validator>,
    pub filter: Arc<Filter>,
    pub cdr: Option<Arc<Cdr>>,
    /// Who may command the running instance, but for the token that it makes itself
    pub commanders: Secrets,
    pub dead_letters: DeadLetterStore,
    pub dead_letter_keys: Option<SealKeys>,
    pub sandbox: Option<SandboxConfig>,
    /// Made for the sandbox where none was given: shown once at start
    pub token: Option<String>,
}

/// HAPI hangs up after 10 s and sends again; a delivery must have ended well before.
#[allow(dead_code)]
pub const HAPI_TIMEOUT: Duration = Duration::from_secs(10);
const SESSION: std::ops::RangeInclusive<u64> = 900..=43_200;

pub fn plan(settings: Settings) -> Result<Plan, SettingsError> {
    together::check(&settings)?;
    if on_lambda() {
        lambda::check(&settings)?;
    }
    let sandbox = settings.sandbox.then(|| settings.sandbox_args.config()).transpose()?;
    let token = made_token(&settings);
    let callers = callers(&settings, token.as_deref())?;
    let tls = tls(&settings)?;
    let trust = trust(&settings)?;
    let endpoint = endpoint(&settings, sandbox.as_ref())?;
    let source = source(&settings, &endpoint, sandbox.as_ref(), &trust)?;
    let cdr = cdr(&settings, &trust)?.map(Arc::new);
    let commanders = commanders(&settings)?;
    let filter = Arc::new(settings.filter.filter()?);
    limits(&settings)?;
    subscription::try_out(&settings, token.as_deref())?;
    let dead_letters = settings.dead_letters.store(settings.order.data_dir.is_some())?;
    let dead_letter_keys = settings.dead_letters.keys()?;
    Ok(Plan {
        base_path: base_path(&settings.listen.base_path)?,
        validator: Arc::new(Validator::new(settings.delivery.validation.into(), settings.delivery.max_depth)),
        endpoint,
        trust,
        source,
        callers,
        tls,
        filter,
        cdr,
        commanders,
        dead_letters,
        dead_letter_keys,
        sandbox,
        token,
        settings,
    })
}

/// Region and base credentials alone, for a command that asks other services than HealthLake.
pub fn aws(settings: &Settings) -> Result<Source, SettingsError> {
    let args = &settings.credentials;
    let endpoint = settings.healthlake.healthlake_endpoint.as_deref();
    let endpoint = endpoint.and_then(|url| Endpoint::parse(url, true).ok());
    Ok(Source {
        region: args.region.clone().or_else(|| Some(endpoint?.region()?.to_owned())),
        use_fips: args.use_fips,
        trust: trust(settings)?,
        ..Source::default()
    })
}

impl Plan {
    pub fn limits(&self) -> Limits {
        Limits {
            max_body: self.settings.delivery.max_body,
            deadline: self.settings.delivery.deadline,
            body_timeout: self.settings.listen.body_timeout,
        }
    }

    pub fn listening(&self) -> Listening {
        Listening {
            tls: self.tls.clone(),
            head_timeout: self.settings.listen.head_timeout,
            keep_alive: self.settings.listen.keep_alive,
            max_connections: self.settings.listen.max_connections.get(),
            drain: self.settings.lifecycle.drain_timeout,
        }
    }

    pub fn options(&self, region: String) -> Options {
        Options {
            region,
            pool: self.settings.delivery.max_in_flight.get(),
            pool_idle_timeout: self.settings.healthlake.pool_idle_timeout,
            connect_timeout: self.settings.healthlake.connect_timeout,
            validation_level: self.settings.healthlake.healthlake_validation_level,
            trust: self.trust.clone(),
        }
    }

    /// The wall clock; everything that signs or expires reads it through here.
    pub fn clock() -> crate::healthlake::Clock {
        Arc::new(SystemTime::now)
    }
}

fn tls(settings: &Settings) -> Result<Option<Arc<Tls>>, SettingsError> {
    let listen = &settings.listen;
    let (Some(certificate), Some(key)) = (&listen.tls_cert, &listen.tls_key) else { return Ok(None) };
    let files =
        Files { certificate: certificate.clone(), key: key.clone(), client_ca: listen.tls_client_ca.clone() };
    Tls::new(files).map(Some).map_err(|error| SettingsError::new("tls-cert", error.to_string()))
}

pub(super) fn trust(settings: &Settings) -> Result<Trust, SettingsError> {
    let Some(path) = &settings.healthlake.ca_file else { return Ok(Trust::default()) };
    Trust::from_file(path).map_err(|error| SettingsError::new("ca-file", error.to_string()))
}

fn endpoint(settings: &Settings, sandbox: Option<&SandboxConfig>) -> Result<Endpoint, SettingsError> {
    let error = |problem: String| SettingsError::new("healthlake-endpoint", problem);
    let url = match (sandbox, &settings.healthlake.healthlake_endpoint) {
        (Some(_), Some(_)) => {
            return Err(error("--sandbox sets the endpoint to the sandbox; give one of the two".into()));
        }
        (Some(sandbox), None) => {
            format!("http://{}/datastore/{}/r4", settings.sandbox_args.sandbox_listen, sandbox.datastore_id)
        }
        (None, Some(url)) => url.clone(),
        (None, None) => {
            return Err(error(
                "is missing: set it to the data store's URL (`aws healthlake describe-fhir-datastore` shows it), or try --sandbox".into(),
            ));
        }
    };
    let insecure = settings.healthlake.allow_insecure_upstream;
    Endpoint::parse(&url, insecure).map_err(|problem| error(problem.to_string()))
}

fn source(
    settings: &Settings,
    endpoint: &Endpoint,
    sandbox: Option<&SandboxConfig>,
    trust: &Trust,
) -> Result<Source, SettingsError> {
    let args = &settings.credentials;
    if let Some(duration) = args.role_session_duration
        && !SESSION.contains(&duration.as_secs())
    {
        return Err(SettingsError::new(
            "role-session-duration",
            "is not between 15m and 12h, which is what STS takes",
        ));
    }
    let role = args.role_arn.as_ref().map(|arn| Role {
        arn: arn.clone(),
        session_name: args.role_session_name.clone(),
        session_duration: args.role_session_duration,
        external_id: args.role_external_id.as_ref().map(|id| id.expose_secret().to_owned()),
    });
    if let Some(sandbox) = sandbox {
        let base =
            Credentials::new(&sandbox.access_key_id, &sandbox.secret_access_key, None, None, "sandbox");
        let role = role.unwrap_or_else(|| Role {
            arn: format!("arn:aws:iam::{}:role/lakehook", sandbox.account),
            session_name: args.role_session_name.clone(),
            session_duration: None,
            external_id: None,
        });
        return Ok(Source {
            region: Some(sandbox.region.clone()),
            role: Some(role),
            sts_endpoint: Some(format!("http://{}", settings.sandbox_args.sandbox_listen)),
            base: Some(base),
            ..Source::default()
        });
    }
    if let Some(url) = &args.sts_endpoint {
        let parsed = reqwest::Url::parse(url);
        let secure = parsed.is_ok_and(|url| {
            url.scheme() == "https" || url.host_str().is_some_and(crate::healthlake::is_loopback)
        });
        if !secure && !settings.healthlake.allow_insecure_upstream {
            return Err(SettingsError::new(
                "sts-endpoint",
                "is not an https:// URL; http:// is for loopback, or with --allow-insecure-upstream",
            ));
        }
    }
    Ok(Source {
        region: args.region.clone().or_else(|| endpoint.region().map(str::to_owned)),
        role,
        sts_endpoint: args.sts_endpoint.clone(),
        use_fips: args.use_fips,
        trust: trust.clone(),
        base: None,
    })
}

fn limits(settings: &Settings) -> Result<(), SettingsError> {
    let delivery = &settings.delivery;
    if delivery.deadline < Duration::from_millis(100) {
        return Err(SettingsError::new(
            "deadline",
            "is below 100ms: no delivery could end in it; 8s suits a CDR that waits 10s",
        ));
    }
    if delivery.max_body == 0 || delivery.max_body > 200 << 20 {
        return Err(SettingsError::new("max-body", "is not between 1 byte and 200 MiB"));
    }
    if delivery.max_bytes_in_flight < delivery.max_body {
        return Err(SettingsError::new(
            "max-bytes-in-flight",
            "is below --max-body: a body of that size would never be taken; raise it to at least --max-body",
        ));
    }
    if settings.listen.listen == settings.listen.admin_listen && settings.listen.listen.port() != 0 {
        return Err(SettingsError::new(
            "admin-listen",
            "is the same address as --listen; give it another port",
        ));
    }
    Ok(())
}

pub(super) fn base_path(text: &str) -> Result<Box<str>, SettingsError> {
    let trimmed = text.trim_end_matches('/');
    let fine = trimmed.is_empty()
        || (trimmed.starts_with('/')
            && trimmed.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.')));
    if !fine || ["/healthz", "/livez", "/readyz"].contains(&trimmed) {
        return Err(SettingsError::new("base-path", "is no path such as /fhir of letters, digits, / - _ ."));
    }
    Ok(trimmed.into())
}
