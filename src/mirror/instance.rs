//! The running instance: how it is found, and how a delivery is handed to it over its admin address.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Mirror, NoAnswer, Source, Telling, Told};
use crate::delivery::{Delivery, Key};

/// Names the `Source` of a delivery that is handed over.
pub const SOURCE_HEADER: &str = "x-lakehook-source";
/// An instance that is there answers its admin address at once.
const PROBE: Duration = Duration::from_secs(3);
/// Beyond the delivery's own deadline: a turn among other commands' deliveries, and the way there and back
const SLACK: Duration = Duration::from_secs(30);

/// `instance.json` in the data directory: who may read it may command the instance.
#[derive(Serialize, Deserialize)]
pub struct Announced {
    /// `http://ADDR` of the admin address
    pub admin: String,
    pub token: String,
    pub pid: u32,
}

/// The file, removed when the instance ends in order.
pub struct RunningFile(PathBuf);

impl RunningFile {
    fn path(directory: &Path) -> PathBuf {
        directory.join("instance.json")
    }

    /// Written anew at each start, for its owner only.
    pub fn write(directory: &Path, announced: &Announced) -> std::io::Result<Self> {
        let path = Self::path(directory);
        let new = directory.join("instance.json.new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(serde_json::to_string(announced)?.as_bytes())?;
        std::fs::rename(&new, &path)?;
        Ok(Self(path))
    }

    pub fn read(directory: &Path) -> std::io::Result<Option<Announced>> {
        match std::fs::read(Self::path(directory)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for RunningFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `http://ADDR` at which an address that was bound can be reached from this machine.
pub fn reachable(bound: SocketAddr) -> String {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, bound.port()))
}

pub struct Instance {
    pub(super) client: reqwest::Client,
    pub(super) admin: String,
    pub(super) headers: HeaderMap,
}

/// What a look at the admin address found.
#[derive(Debug)]
pub enum Found {
    Running,
    Nobody,
}

impl Instance {
    /// `admin` is `http://ADDR`; `deadline` that of one delivery.
    pub fn new(
        admin: &str,
        token: &SecretString,
        source: Source,
        deadline: Duration,
    ) -> Result<Self, reqwest::Error> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .unwrap_or(HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(SOURCE_HEADER, HeaderValue::from_static(source.name()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(PROBE)
            .timeout(deadline + SLACK)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, admin: admin.trim_end_matches('/').to_owned(), headers })
    }

    /// Whether an instance that takes our token answers.
    pub async fn probe(&self) -> Result<Found, NoAnswer> {
        let request = self.client.get(format!("{}/instance", self.admin)).headers(self.headers.clone());
        match request.timeout(PROBE).send().await {
            Ok(response) if response.status().is_success() => Ok(Found::Running),
            Ok(response) => Err(self.refused(response.status().as_u16())),
            Err(error) if error.is_connect() => Ok(Found::Nobody),
            Err(_) => Err(NoAnswer::Unreachable(self.admin.clone())),
        }
    }

    async fn hand_over(&self, delivery: Delivery) -> Result<Told, NoAnswer> {
        let (method, key, json) = match delivery {
            Delivery::Upsert { addressed, json, .. } => (Method::PUT, addressed.key(), json),
            Delivery::Delete { key } => (Method::DELETE, Some(key), bytes::Bytes::new()),
            Delivery::Changed { key } => (Method::POST, Some(key), bytes::Bytes::new()),
        };
        let path = key.as_ref().map(Key::to_string).unwrap_or_default();
        let url = format!("{}/deliveries/{path}", self.admin);
        let request = self.client.request(method, url).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/fhir+json").body(json);
        let unreachable = |_| NoAnswer::Unreachable(self.admin.clone());
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(self.refused(response.status().as_u16()));
        }
        let body = response.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(|_| NoAnswer::Foreign(self.admin.clone()))
    }

    pub(super) fn refused(&self, status: u16) -> NoAnswer {
        let advice = match status {
            401 => ": it does not take this token; was it started anew, or is it another program?",
            404 => ": it is no lakehook, or an older one",
            413 => ": larger than its --max-body",
            503 => ": it is overloaded or ends",
            _ => "",
        };
        NoAnswer::Refused { at: self.admin.clone(), status, advice }
    }
}

impl Mirror for Instance {
    fn forward(&self, delivery: Delivery) -> Telling<'_> {
        Box::pin(self.hand_over(delivery))
    }

    fn way(&self) -> String {
        format!("the running instance at {}", self.admin)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_its_owners_and_gone_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let announced = Announced { admin: "http://127.0.0.1:1".into(), token: "t".into(), pid: 7 };
        let file = RunningFile::write(directory.path(), &announced).unwrap();
        let mode = std::fs::metadata(RunningFile::path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(RunningFile::read(directory.path()).unwrap().unwrap().pid, 7);
        drop(file);
        assert!(RunningFile::read(directory.path()).unwrap().is_none());
    }

    #[test]
    fn an_address_of_all_interfaces_is_reached_at_loopback() {
        assert_eq!(reachable("0.0.0.0:8081".parse().unwrap()), "http://127.0.0.1:8081");
        assert_eq!(reachable("[::]:8081".parse().unwrap()), "http://[::1]:8081");
        assert_eq!(reachable("10.0.0.5:1".parse().unwrap()), "http://10.0.0.5:1");
    }
}
