//! A sender with many connections, each with one delivery under way: as fast as they go, or at a rate whether or not
//! the last answer was slow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::stand::TOKEN;

pub struct Driven {
    pub time: Duration,
    /// How often each status was the answer; 0: the connection ended without one
    pub answers: BTreeMap<u16, u64>,
    /// Of what was taken, in microseconds, from when it was due
    pub taken: Histogram<u64>,
    /// Of what was answered 503
    pub shed: Histogram<u64>,
    /// When the last one that was not taken was sent, counted from the start
    pub last_not_taken: Option<Duration>,
}

impl Driven {
    pub fn per_second(&self) -> f64 {
        self.taken.len() as f64 / self.time.as_secs_f64()
    }

    /// Answers other than 2xx and 503
    pub fn others(&self) -> BTreeMap<u16, u64> {
        let other = |status: &u16| !(200..300).contains(status) && *status != 503;
        self.answers.iter().filter(|(status, _)| other(status)).map(|(status, n)| (*status, *n)).collect()
    }

    fn new() -> Result<Self> {
        let (taken, shed) = (Histogram::new(3)?, Histogram::new(3)?);
        Ok(Self { time: Duration::ZERO, answers: BTreeMap::new(), taken, shed, last_not_taken: None })
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        self.taken.add(&other.taken)?;
        self.shed.add(&other.shed)?;
        self.last_not_taken = self.last_not_taken.max(other.last_not_taken);
        Ok(())
    }
}

/// Resources in all: a key is written again only long after, since deliveries of one resource wait for each other.
const KEYS: usize = 20_000;

/// `rate` deliveries a second in all, or as many as go.
pub async fn drive(
    address: SocketAddr,
    connections: usize,
    rate: Option<f64>,
    time: Duration,
) -> Result<Driven> {
    let started = Instant::now();
    let every = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let keys = (connection..KEYS.max(connections)).step_by(connections).collect();
        let first = started + every.map_or(Duration::ZERO, |every| every.mul_f64(fastrand::f64()));
        let sender = Sender { address, keys, started, first, until: started + time, every };
        tasks.spawn(sender.run());
    }
    let mut all = Driven::new()?;
    while let Some(driven) = tasks.join_next().await {
        all.add(&driven??)?;
    }
    all.time = started.elapsed();
    Ok(all)
}

struct Sender {
    address: SocketAddr,
    keys: Vec<usize>,
    started: Instant,
    first: Instant,
    until: Instant,
    every: Option<Duration>,
}

impl Sender {
    async fn run(self) -> Result<Driven> {
        let mut driven = Driven::new()?;
        let mut connection = None;
        let mut due = self.first;
        for key in self.keys.iter().cycle() {
            if self.every.is_some() {
                sleep_until(due).await;
            }
            let sent = Instant::now();
            if sent >= self.until {
                break;
            }
            // A stall must not hide behind itself: counted from when it was due.
            let from = if self.every.is_some() { due } else { sent };
            due += self.every.unwrap_or_default();
            let status = match self.send(&mut connection, *key).await {
                Ok(status) => status,
                Err(_) => {
                    connection = None;
                    0
                }
            };
            *driven.answers.entry(status).or_default() += 1;
            let took = u64::try_from(from.elapsed().as_micros())?.max(1);
            match status {
                200..300 => driven.taken.record(took)?,
                503 => driven.shed.record(took)?,
                _ => {}
            }
            if !(200..300).contains(&status) {
                driven.last_not_taken = Some(sent - self.started);
            }
        }
        Ok(driven)
    }

    async fn send(&self, connection: &mut Option<SendRequest<Full<Bytes>>>, key: usize) -> Result<u16> {
        // One that was closed after the last answer is no failure: HAPI opens another one too.
        if let Some(open) = connection
            && open.ready().await.is_err()
        {
            *connection = None;
        }
        let open = match connection {
            Some(open) => open,
            closed => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let (open, running) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(running);
                closed.insert(open)
            }
        };
        let request = Request::put(format!("/fhir/Patient/load-{key}"))
            .header("host", "lakehook")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/fhir+json; charset=UTF-8")
            .body(Full::new(patient(key)))?;
        let response = open.send_request(request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok(status)
    }
}

/// About 1.2 KB, a version that is sent again and again as a CDR's retries are.
fn patient(key: usize) -> Bytes {
    let name =
        r#"{"use":"official","family":"Family","given":["Given","Middle"],"period":{"start":"2001-02-03"}}"#;
    let names = [name; 11].join(",");
    format!(
        r#"{{"resourceType":"Patient","id":"load-{key}","meta":{{"versionId":"1","lastUpdated":"2026-01-01T00:00:00.000Z"}},"active":true,"name":[{names}]}}"#
    )
    .into()
}
