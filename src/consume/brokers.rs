//! The brokers: how they are reached, and what their errors mean to an operator. No text here holds a secret or
//! anything of a message.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use krafka::admin::DescribeTopicsOptions;
use krafka::auth::{AuthConfig, AwsMskIamCredentials, TlsConfig};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};
use secrecy::{ExposeSecret, SecretString};

/// For one broker to be connected to, and for one request
const CONNECT: Duration = Duration::from_secs(10);
const REQUEST: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub enum Sasl {
    Plain {
        user: String,
        password: SecretString,
    },
    Scram256 {
        user: String,
        password: SecretString,
    },
    Scram512 {
        user: String,
        password: SecretString,
    },
    /// With the AWS chain's credentials; a new connection signs anew.
    MskIam {
        region: String,
    },
}

/// Certificates of a connection under TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM certificates to trust besides the system's
    pub ca_file: Option<PathBuf>,
    /// PEM certificate and key of the client
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where the messages are, and who we are to the brokers.
#[derive(Clone, Debug)]
pub struct Brokers {
    /// `HOST:PORT`, comma-separated
    pub servers: String,
    pub topic: String,
    pub group: String,
    pub session_timeout: Duration,
    pub sasl: Option<Sasl>,
    /// None: unencrypted
    pub tls: Option<Tls>,
}

impl Brokers {
    pub async fn connect(&self) -> Result<Kafka, String> {
        let connecting = Kafka::builder(self.servers.clone())
            .client_id("lakehook")
            .security(self.security())
            .connect_timeout(CONNECT)
            .request_timeout(REQUEST);
        connecting.connect().await.map_err(|error| self.not_connected(&error))
    }

    /// How many partitions the topic has; it must be there, since a wrong name would wait for ever.
    pub async fn partitions(&self, kafka: &Kafka) -> Result<usize, String> {
        let topic = &self.topic;
        let described = kafka.admin().describe_topics([topic], DescribeTopicsOptions::default()).await;
        match described.map(|mut topics| topics.remove(topic.as_str())) {
            Ok(Some(Ok(described))) => Ok(described.partitions.len()),
            Ok(Some(Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })) | None) => {
                Err(format!(
                    "--kafka-topic: the brokers have no topic `{topic}`; it is the failed channel's name as the CDR's settings give it, and the user must be allowed to describe it"
                ))
            }
            Ok(Some(Err(error))) | Err(error) => {
                Err(format!("--kafka-topic: `{topic}`: {}", self.text(&error)))
            }
        }
    }

    fn security(&self) -> AuthConfig {
        let auth = match &self.sasl {
            None => AuthConfig::plaintext(),
            Some(Sasl::Plain { user, password }) => AuthConfig::sasl_plain(user, password.expose_secret()),
            Some(Sasl::Scram256 { user, password }) => {
                AuthConfig::sasl_scram_sha256(user, password.expose_secret())
            }
            Some(Sasl::Scram512 { user, password }) => {
                AuthConfig::sasl_scram_sha512(user, password.expose_secret())
            }
            Some(Sasl::MskIam { region }) => {
                let region = region.clone();
                AuthConfig::aws_msk_iam_provider(move || {
                    let region = region.clone();
                    async move { AwsMskIamCredentials::from_default_chain(region).await }
                })
            }
        };
        let Some(tls) = &self.tls else { return auth };
        let mut config = TlsConfig::new().with_native_roots();
        if let Some(path) = &tls.ca_file {
            config = config.with_ca_cert(path.to_string_lossy());
        }
        if let Some((certificate, key)) = &tls.client {
            config = config.with_client_cert(certificate.to_string_lossy(), key.to_string_lossy());
        }
        auth.with_tls(config)
    }

    fn not_connected(&self, error: &KrafkaError) -> String {
        let text = self.text(error);
        match error {
            KrafkaError::Auth { .. } if self.tls.is_some() && text.to_lowercase().contains("certificate") => {
                format!("--kafka: {text}; --ca-file names certificates to trust besides the system's")
            }
            KrafkaError::Config { .. } | KrafkaError::Auth { .. } => format!("--kafka: {text}"),
            _ => {
                let advice = match (&self.tls, &self.sasl) {
                    (Some(_), _) => {
                        "a listener without TLS needs --kafka-security-protocol PLAINTEXT or SASL_PLAINTEXT"
                    }
                    (None, None) => "a listener with TLS or SASL needs --kafka-security-protocol",
                    (None, Some(_)) => "a listener with TLS needs --kafka-security-protocol SASL_SSL",
                };
                format!("--kafka: no broker of {} answers: {text}; {advice}", self.servers)
            }
        }
    }

    /// An error's text with what caused it.
    pub fn text(&self, error: &KrafkaError) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                let _ = write!(text, ": {cause_text}");
            }
            source = cause.source();
        }
        text
    }
}
