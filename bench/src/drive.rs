//! The sender: so many connections, each with one delivery under way.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::contestant::TOKEN;
use crate::payload::Payload;

/// How it sends, and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    pub connections: usize,
    /// Deliveries a second of all connections; none: as many as go
    pub rate: Option<u64>,
    pub until: Until,
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Passed(Duration),
    /// So many deliveries of each connection
    Sent(u64),
}

pub struct Driven {
    pub deliveries: u64,
    pub time: Duration,
    /// Microseconds
    pub latency: Histogram<u64>,
}

/// Each connection has its own share of the resources, so that none waits for another's turn. The first that fails ends it.
pub async fn drive(
    address: SocketAddr,
    base_path: &'static str,
    payloads: &[Payload],
    pattern: Pattern,
) -> Result<Driven> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let local = LocalSet::new();
    for connection in 0..pattern.connections {
        let share: Rc<[(String, Bytes)]> = payloads
            .iter()
            .skip(connection)
            .step_by(pattern.connections)
            .map(|payload| (format!("{base_path}/{}", payload.path), payload.json.clone()))
            .collect();
        tasks.spawn_local_on(send(address, share, started, pattern), &local);
    }
    let mut all = Driven { deliveries: 0, time: Duration::ZERO, latency: Histogram::new(3)? };
    let ended = async {
        while let Some(task) = tasks.join_next().await {
            let driven = task??;
            all.deliveries += driven.deliveries;
            all.latency.add(driven.latency)?;
        }
        all.time = started.elapsed();
        Ok(all)
    };
    local.run_until(ended).await
}

async fn send(
    address: SocketAddr,
    share: Rc<[(String, Bytes)]>,
    started: Instant,
    pattern: Pattern,
) -> Result<Driven> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::task::spawn_local(connection);
    let mut driven = Driven { deliveries: 0, time: Duration::ZERO, latency: Histogram::new(3)? };
    // Spread over the connections: each sends at its share of the rate, whether or not the last answer was slow.
    let every = pattern.rate.map(|rate| Duration::from_secs_f64(pattern.connections as f64 / rate as f64));
    let mut due = started + every.map_or(Duration::ZERO, |every| every.mul_f64(fastrand::f64()));
    for (path, json) in share.iter().cycle() {
        if let Some(every) = every {
            sleep_until(due).await;
            due += every;
        }
        match pattern.until {
            Until::Passed(time) if started.elapsed() >= time => break,
            Until::Sent(most) if driven.deliveries >= most => break,
            _ => {}
        }
        let request = Request::put(path)
            .header("host", "lakehook")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/fhir+json; charset=UTF-8")
            .header("user-agent", "HAPI-FHIR/8.8.0 (FHIR Client; FHIR 4.0.1/R4; apache)")
            .body(Full::new(json.clone()))?;
        // Counted from when it was due: a stall must not hide behind itself.
        let begun = every.map_or_else(Instant::now, |every| due - every);
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        if !status.is_success() {
            return Err(format!("{path} was answered {status}").into());
        }
        driven.latency.record(u64::try_from(begun.elapsed().as_micros())?.max(1))?;
        driven.deliveries += 1;
    }
    Ok(driven)
}
