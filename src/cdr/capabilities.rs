//! What the CDR says of itself.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::request::Ask;
use super::{Cdr, CdrError};

/// HAPI makes its first CapabilityStatement when it is first asked for one, and that takes 35 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which FHIR server it is, by the name it gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Server {
    Hapi,
    SmileCdr,
    Medplum,
    Microsoft,
    Firely,
    Other,
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hapi => "HAPI FHIR",
            Self::SmileCdr => "Smile CDR",
            Self::Medplum => "Medplum",
            Self::Microsoft => "Microsoft's FHIR server",
            Self::Firely => "Firely Server",
            Self::Other => "a FHIR server of another kind",
        }
    }

    fn of(statement: &Value) -> Self {
        // Smile CDR is built on HAPI and may name both; so it comes first.
        let kinds = [
            ("smile", Self::SmileCdr),
            ("medplum", Self::Medplum),
            ("microsoft", Self::Microsoft),
            ("azure", Self::Microsoft),
            ("firely", Self::Firely),
            ("vonk", Self::Firely),
            ("hapi", Self::Hapi),
        ];
        // The software is the best witness; the others are an installation's own words.
        let says = [
            &statement["software"]["name"],
            &statement["implementation"]["description"],
            &statement["publisher"],
            &statement["name"],
        ];
        for text in says.into_iter().filter_map(Value::as_str) {
            let text = text.to_ascii_lowercase();
            if let Some((_, kind)) = kinds.iter().find(|(word, _)| text.contains(word)) {
                return *kind;
            }
        }
        Self::Other
    }
}

/// The parts of the CapabilityStatement that matter here.
#[derive(Clone, Debug)]
pub struct Capabilities {
    pub server: Server,
    /// `software.name`
    pub software: Option<String>,
    /// `software.version`
    pub version: Option<String>,
    /// As in `4.0.1`
    pub fhir_version: Option<String>,
    /// The resource types that it serves
    pub types: Vec<String>,
    /// Topics of the R4 backport that it offers, by canonical URL
    pub topics: Vec<String>,
    /// It says that it follows the Subscriptions R5 Backport guide.
    pub backport: bool,
}

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/";

impl Cdr {
    /// `GET {base}/metadata`, with two minutes' patience.
    pub async fn capabilities(&self) -> Result<Capabilities, CdrError> {
        let deadline = Instant::now() + PATIENCE;
        let url = self.url("metadata");
        let reply = self.fetch(Ask::get(url), self.large(), "a CapabilityStatement may be", deadline).await?;
        if reply.status != 200 {
            return Err(reply.into_error());
        }
        serde_json::from_slice(&reply.body)
            .ok()
            .and_then(|statement| Capabilities::read(&statement))
            .ok_or(CdrError::Nonsense("no CapabilityStatement in FHIR JSON; is --cdr-url the FHIR base URL?"))
    }
}

impl Capabilities {
    /// None where it is no CapabilityStatement.
    pub fn read(statement: &Value) -> Option<Self> {
        if statement["resourceType"] != "CapabilityStatement" {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let resources: Vec<Value> =
            list(&statement["rest"]).iter().flat_map(|rest| list(&rest["resource"])).collect();
        let subscription = resources.iter().find(|resource| resource["type"] == "Subscription");
        let topics = subscription
            .map(|resource| list(&resource["extension"]))
            .unwrap_or_default()
            .iter()
            .filter(|extension| {
                extension["url"].as_str().is_some_and(|url| url.contains("subscriptiontopic"))
            })
            .filter_map(|extension| {
                text(&extension["valueCanonical"]).or_else(|| text(&extension["valueUri"]))
            })
            .collect();
        let backport = list(&statement["instantiates"])
            .iter()
            .chain(&list(&statement["implementationGuide"]))
            .chain(&subscription.map(|resource| list(&resource["supportedProfile"])).unwrap_or_default())
            .filter_map(Value::as_str)
            .any(|url| url.starts_with(BACKPORT));
        Some(Self {
            server: Server::of(statement),
            software: text(&statement["software"]["name"]),
            version: text(&statement["software"]["version"]),
            fhir_version: text(&statement["fhirVersion"]),
            types: resources.iter().filter_map(|resource| text(&resource["type"])).collect(),
            topics,
            backport,
        })
    }
}
