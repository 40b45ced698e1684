//! The brokers that hold a CDR's failed channel.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

use super::units::duration;
use super::{Settings, SettingsError};
use crate::consume::{Brokers, Sasl, Tls};

/// Kafka's `security.protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// Kafka's `sasl.mechanism`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SaslMechanism {
    #[value(name = "PLAIN")]
    Plain,
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
    /// The AWS chain's credentials, without --role-arn
    #[value(name = "AWS_MSK_IAM")]
    AwsMskIam,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Brokers to begin with, as host:port, comma-separated
    #[arg(long, env = "LAKEHOOK_KAFKA", value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Topic of the failed channel
    #[arg(long, env = "LAKEHOOK_KAFKA_TOPIC", value_name = "NAME")]
    pub kafka_topic: Option<String>,
    /// Consumer group; its members share the partitions, and its offsets say what is done with
    #[arg(long, env = "LAKEHOOK_KAFKA_GROUP", value_name = "NAME", default_value = "lakehook")]
    pub kafka_group: String,
    /// How the brokers are spoken to: what they send is patients' data
    #[arg(
        long,
        env = "LAKEHOOK_KAFKA_SECURITY_PROTOCOL",
        value_name = "PROTOCOL",
        value_enum,
        ignore_case = true,
        default_value = "SSL"
    )]
    pub kafka_security_protocol: SecurityProtocol,
    /// With SASL: how to say who we are
    #[arg(
        long,
        env = "LAKEHOOK_KAFKA_SASL_MECHANISM",
        value_name = "MECHANISM",
        value_enum,
        ignore_case = true
    )]
    pub kafka_sasl_mechanism: Option<SaslMechanism>,
    /// User of PLAIN and SCRAM
    #[arg(long, env = "LAKEHOOK_KAFKA_SASL_USER", value_name = "NAME")]
    pub kafka_sasl_user: Option<String>,
    /// Its password
    #[arg(long, env = "LAKEHOOK_KAFKA_SASL_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub kafka_sasl_password: Option<SecretString>,
    /// File with its password
    #[arg(long, env = "LAKEHOOK_KAFKA_SASL_PASSWORD_FILE", value_name = "FILE")]
    pub kafka_sasl_password_file: Option<PathBuf>,
    /// PEM certificate of this client, where the brokers ask for one
    #[arg(long, env = "LAKEHOOK_KAFKA_CLIENT_CERT", value_name = "FILE")]
    pub kafka_client_cert: Option<PathBuf>,
    /// Its PEM key
    #[arg(long, env = "LAKEHOOK_KAFKA_CLIENT_KEY", value_name = "FILE")]
    pub kafka_client_key: Option<PathBuf>,
    /// A member that the group has not heard of for so long is taken for dead
    #[arg(long, env = "LAKEHOOK_KAFKA_SESSION_TIMEOUT", value_name = "TIME", default_value = "45s", value_parser = duration)]
    pub kafka_session_timeout: Duration,
}

impl KafkaArgs {
    /// `settings`: those of the command, for the region and the certificates to trust.
    pub fn brokers(&self, settings: &Settings) -> Result<Brokers, SettingsError> {
        let missing = |setting, what: &str| SettingsError::new(setting, format!("is missing: {what}"));
        let servers = self
            .kafka
            .clone()
            .ok_or_else(|| missing("kafka", "the brokers, as host:port, comma-separated"))?;
        if let Some(server) = servers.split(',').map(str::trim).find(|server| !is_address(server)) {
            return Err(SettingsError::new("kafka", format!("`{server}` is not host:port")));
        }
        let topic = self
            .kafka_topic
            .clone()
            .ok_or_else(|| missing("kafka-topic", "the topic of the failed channel"))?;
        if !(6..=1800).contains(&self.kafka_session_timeout.as_secs()) {
            return Err(SettingsError::new("kafka-session-timeout", "is not between 6s and 30m"));
        }
        let tls = matches!(self.kafka_security_protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl);
        Ok(Brokers {
            servers,
            topic,
            group: self.kafka_group.clone(),
            session_timeout: self.kafka_session_timeout,
            sasl: self.sasl(settings)?,
            tls: self.tls(settings, tls)?,
        })
    }

    fn tls(&self, settings: &Settings, tls: bool) -> Result<Option<Tls>, SettingsError> {
        let client = match (&self.kafka_client_cert, &self.kafka_client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (Some(_), None) => {
                return Err(SettingsError::new("kafka-client-cert", "needs --kafka-client-key as well"));
            }
            (None, Some(_)) => {
                return Err(SettingsError::new("kafka-client-key", "needs --kafka-client-cert as well"));
            }
            (None, None) => None,
        };
        if client.is_some() && !tls {
            return Err(SettingsError::new(
                "kafka-client-cert",
                "needs --kafka-security-protocol SSL or SASL_SSL",
            ));
        }
        Ok(tls.then(|| Tls { ca_file: settings.healthlake.ca_file.clone(), client }))
    }

    fn sasl(&self, settings: &Settings) -> Result<Option<Sasl>, SettingsError> {
        let with = matches!(
            self.kafka_security_protocol,
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
        );
        let mechanism = match (with, self.kafka_sasl_mechanism) {
            (false, None) => return Ok(None),
            (false, Some(_)) => {
                return Err(SettingsError::new(
                    "kafka-sasl-mechanism",
                    "needs --kafka-security-protocol SASL_SSL (or SASL_PLAINTEXT)",
                ));
            }
            (true, None) => {
                return Err(SettingsError::new(
                    "kafka-security-protocol",
                    "needs --kafka-sasl-mechanism as well",
                ));
            }
            (true, Some(mechanism)) => mechanism,
        };
        if mechanism == SaslMechanism::AwsMskIam {
            if self.kafka_security_protocol != SecurityProtocol::SaslSsl {
                return Err(SettingsError::new(
                    "kafka-sasl-mechanism",
                    "needs --kafka-security-protocol SASL_SSL for AWS_MSK_IAM",
                ));
            }
            let region = settings.credentials.region.clone().ok_or_else(|| {
                SettingsError::new("region", "is missing: AWS_MSK_IAM signs for the cluster's region")
            })?;
            return Ok(Some(Sasl::MskIam { region }));
        }
        let user = self.kafka_sasl_user.clone().filter(|user| !user.is_empty()).ok_or_else(|| {
            SettingsError::new("kafka-sasl-user", "is missing: the mechanism says who we are by name")
        })?;
        let password = self.password()?;
        Ok(Some(match mechanism {
            SaslMechanism::Plain => Sasl::Plain { user, password },
            SaslMechanism::ScramSha256 => Sasl::Scram256 { user, password },
            SaslMechanism::ScramSha512 | SaslMechanism::AwsMskIam => Sasl::Scram512 { user, password },
        }))
    }

    fn password(&self) -> Result<SecretString, SettingsError> {
        let setting = "kafka-sasl-password-file";
        let password = match (&self.kafka_sasl_password, &self.kafka_sasl_password_file) {
            (Some(_), Some(_)) => {
                let problem = "is given and --kafka-sasl-password too: a secret comes from a value or a file, never both";
                return Err(SettingsError::new(setting, problem).with("kafka-sasl-password"));
            }
            (None, None) => {
                return Err(SettingsError::new(setting, "is missing: the password of --kafka-sasl-user"));
            }
            (Some(password), None) => password.clone(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| SettingsError::new(setting, format!("{}: {error}", path.display())))?;
                SecretString::from(text.trim_end_matches(['\r', '\n']))
            }
        };
        match password.expose_secret().is_empty() {
            true => Err(SettingsError::new(setting, "is empty")),
            false => Ok(password),
        }
    }
}

fn is_address(server: &str) -> bool {
    server
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
