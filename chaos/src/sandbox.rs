//! `lakehook sandbox` as a process of its own: HealthLake and STS, their faults, and the history that convicts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::process::{Process, clean, http_client};

pub struct Sandbox {
    _process: Process,
    /// `http://ADDR`
    pub url: String,
    /// The data store's URL
    pub endpoint: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    http: reqwest::Client,
    /// Those that strike by chance, as long as the storm lasts
    base: Vec<Value>,
    asked: Mutex<Vec<Asked>>,
}

/// A fault that strikes so many times.
struct Asked {
    name: &'static str,
    fault: Value,
    count: u64,
}

/// One write that took effect.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    pub seq: u64,
    pub key: String,
    pub interaction: String,
    pub cdr_version: Option<String>,
    pub at: jiff::Timestamp,
}

impl Sandbox {
    /// Its STS gives out credentials that live `lifetime`.
    pub async fn start(
        lakehook: &Path,
        directory: &Path,
        lifetime: Duration,
        base: Vec<Value>,
    ) -> Result<Self> {
        let mut command = clean(lakehook);
        command.args(["sandbox", "--sandbox-listen", "127.0.0.1:0", "--log", "error"]);
        command.args(["--sandbox-session-lifetime", &format!("{}s", lifetime.as_secs())]);
        let mut process = Process::start("sandbox", directory, command)?;
        let bound = Duration::from_secs(60);
        let endpoint = process.said("ready ", bound).await?;
        let url = process.said("export LAKEHOOK_STS_ENDPOINT=", bound).await?;
        let keys = process.said("export AWS_REGION=", bound).await?;
        let find = |name: &str| keys.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        let (Some(access_key_id), Some(secret_access_key)) =
            (find("AWS_ACCESS_KEY_ID="), find("AWS_SECRET_ACCESS_KEY="))
        else {
            return Err("the sandbox does not say its credentials".into());
        };
        let http = http_client()?;
        let asked = Mutex::default();
        let _process = process;
        Ok(Self { _process, url, endpoint, access_key_id, secret_access_key, http, base, asked })
    }

    /// The faults by chance begin.
    pub async fn rage(&self) -> Result<()> {
        self.post(&Value::Array(self.base.clone())).await
    }

    /// Strikes `count` times.
    pub async fn add(&self, name: &'static str, fault: Value, count: u64) -> Result<()> {
        let mut counted = fault.clone();
        counted["count"] = count.into();
        self.post(&counted).await?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { name, fault, count });
        Ok(())
    }

    /// Ends one fault of [`Sandbox::always`]; the others stay.
    pub async fn lift(&self, fault: &Value) -> Result<()> {
        let url = format!("{}/_sandbox/faults", self.url);
        let mut active: Vec<Value> = self.http.get(&url).send().await?.error_for_status()?.json().await?;
        active.retain(|active| active != fault);
        self.http.delete(&url).send().await?.error_for_status()?;
        self.post(&Value::Array(active)).await
    }

    /// Until it is lifted, or the next [`Sandbox::calm`].
    pub async fn always(&self, fault: &Value) -> Result<()> {
        self.post(fault).await
    }

    /// Ends all faults; what has not struck is counted off.
    pub async fn calm(&self) -> Result<()> {
        let url = format!("{}/_sandbox/faults", self.url);
        let active: Vec<Value> = self.http.get(&url).send().await?.error_for_status()?.json().await?;
        self.http.delete(&url).send().await?.error_for_status()?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for mut left in active {
            let Some(mut count) = left["count"].as_u64() else { continue };
            if let Some(fault) = left.as_object_mut() {
                fault.remove("count");
            }
            for asked in asked.iter_mut().rev().filter(|asked| asked.fault == left) {
                let off = asked.count.min(count);
                asked.count -= off;
                count -= off;
            }
        }
        Ok(())
    }

    /// How often each counted fault struck; whole once [`Sandbox::calm`].
    pub fn struck(&self) -> BTreeMap<String, u64> {
        let mut struck = BTreeMap::new();
        for Asked { name, count, .. } in &*self.asked.lock().unwrap_or_else(PoisonError::into_inner) {
            *struck.entry((*name).to_owned()).or_default() += count;
        }
        struck
    }

    async fn post(&self, faults: &Value) -> Result<()> {
        let response =
            self.http.post(format!("{}/_sandbox/faults", self.url)).body(faults.to_string()).send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(format!("the sandbox refuses {faults}: {}", response.text().await?).into())
    }

    /// In the order in which they took effect
    pub async fn history(&self) -> Result<Vec<Write>> {
        self.lines("history").await
    }

    /// What is alive, by `Type/id`
    pub async fn resources(&self) -> Result<BTreeMap<String, Value>> {
        let resources: Vec<Value> = self.lines("resources").await?;
        let key = |resource: &Value| {
            let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("resourceType"), text("id"))
        };
        Ok(resources.into_iter().map(|resource| (key(&resource), resource)).collect())
    }

    /// How HealthLake and STS answered: the latest 100,000 requests
    pub async fn answers(&self) -> Result<BTreeMap<String, u64>> {
        #[derive(Deserialize)]
        struct Line {
            service: String,
            status: Option<u16>,
        }
        let mut answers = BTreeMap::new();
        for Line { service, status } in self.lines("requests").await? {
            let status = status.map_or("cut".to_owned(), |status| status.to_string());
            *answers.entry(format!("{service} {status}")).or_default() += 1;
        }
        Ok(answers)
    }

    async fn lines<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<Vec<T>> {
        let response = self.http.get(format!("{}/_sandbox/{what}", self.url)).send().await?;
        let text = response.error_for_status()?.text().await?;
        Ok(text.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?)
    }
}
