//! Where credentials come from: the AWS default chain, and STS AssumeRole on top of it where a role is set.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use super::Trust;

/// A role to assume. STS's own limits: session 900 to 43,200 s, external id 2 to 1,224 characters.
#[derive(Clone, Debug)]
pub struct Role {
    pub arn: String,
    pub session_name: String,
    pub session_duration: Option<Duration>,
    pub external_id: Option<String>,
}

/// How to reach credentials.
#[derive(Clone, Default)]
pub struct Source {
    pub region: Option<String>,
    pub role: Option<Role>,
    /// STS elsewhere: PrivateLink, the sandbox.
    pub sts_endpoint: Option<String>,
    pub use_fips: bool,
    pub trust: Trust,
    /// Instead of the default chain: the sandbox's.
    pub base: Option<Credentials>,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no AWS region: set --region (LAKEHOOK_REGION), AWS_REGION, or `region` in the AWS profile")]
    NoRegion,
}

/// Who STS says we are.
#[derive(Clone, Debug)]
pub struct Identity {
    pub arn: String,
    pub account: String,
}

/// A source made ready.
pub struct Resolved {
    pub region: String,
    pub provider: SharedCredentialsProvider,
    config: SdkConfig,
    sts_endpoint: Option<String>,
}

impl Source {
    pub async fn resolve(&self) -> Result<Resolved, SourceError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // Our own bound lies above; without these a silent STS would hold a refresh for minutes.
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_attempt_timeout(Duration::from_secs(5))
                    .operation_timeout(Duration::from_secs(15))
                    .build(),
            );
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let host = self.sts_endpoint.as_deref().and_then(|url| reqwest::Url::parse(url).ok());
        let loopback = host.is_some_and(|url| url.host_str().is_some_and(super::is_loopback));
        if let Some(client) = self.trust.sdk_client(!loopback) {
            loader = loader.http_client(client);
        }
        if let Some(base) = &self.base {
            loader = loader.credentials_provider(base.clone());
        }
        if self.use_fips {
            loader = loader.use_fips(true);
        }
        let config = loader.load().await;
        let region = config.region().ok_or(SourceError::NoRegion)?.to_string();
        let base = config.credentials_provider().expect("the default chain always sets one");
        let provider = match &self.role {
            None => base,
            Some(role) => SharedCredentialsProvider::new(self.assume(role, &config, base).await),
        };
        Ok(Resolved { region, provider, config, sts_endpoint: self.sts_endpoint.clone() })
    }

    async fn assume(
        &self,
        role: &Role,
        config: &SdkConfig,
        base: SharedCredentialsProvider,
    ) -> AssumeRoleProvider {
        let config = at_endpoint(config, self.sts_endpoint.as_deref());
        let mut builder =
            AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&config);
        if let Some(duration) = role.session_duration {
            builder = builder.session_length(duration);
        }
        if let Some(external_id) = &role.external_id {
            builder = builder.external_id(external_id);
        }
        builder.build_from_provider(base).await
    }
}

impl Resolved {
    /// Region, private CA and the base chain's credentials (not the role's: that one is HealthLake's), for other
    /// services' clients.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    /// Asks STS who `credentials` belong to.
    pub async fn caller_identity(&self, credentials: Credentials) -> Result<Identity, String> {
        let config = at_endpoint(&self.config, self.sts_endpoint.as_deref())
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let answer = aws_sdk_sts::Client::new(&config)
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| describe(&error))?;
        Ok(Identity {
            arn: answer.arn().unwrap_or_default().to_owned(),
            account: answer.account().unwrap_or_default().to_owned(),
        })
    }

    pub async fn credentials(&self) -> Result<Credentials, String> {
        self.provider.provide_credentials().await.map_err(|error| describe(&error))
    }
}

fn at_endpoint(config: &SdkConfig, endpoint: Option<&str>) -> SdkConfig {
    match endpoint {
        Some(endpoint) => config.clone().into_builder().endpoint_url(endpoint).build(),
        None => config.clone(),
    }
}

/// The chain of causes. The SDK's errors name codes and endpoints, never a secret.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
