//! A tap on the line to lakehook, or from it to HealthLake: what was sent, byte for byte, and how it was answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::app::{Builder, TestApp};

#[derive(Clone)]
pub struct Tap {
    address: SocketAddr,
    upstream: Arc<OnceLock<String>>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

/// An answered request.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Message,
    pub status: u16,
    pub answer: Message,
    pub at: Instant,
}

#[derive(Clone)]
pub struct Message {
    pub raw: Vec<u8>,
    head: usize,
}

impl Tap {
    /// Hands everything on to `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> Self {
        let tap = Self::unconnected().await;
        tap.upstream.set(upstream.to_owned()).unwrap();
        tap
    }

    /// lakehook with a tap on its line to HealthLake.
    pub async fn before_healthlake(builder: Builder) -> (TestApp, Self) {
        let tap = Self::unconnected().await;
        let datastore = lakehook::sandbox::Config::default().datastore_id;
        let app = builder.start_before(&tap.url(&format!("/datastore/{datastore}/r4"))).await;
        tap.upstream.set(app.sandbox_address.to_string()).unwrap();
        (app, tap)
    }

    async fn unconnected() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tap = Self { address, upstream: Arc::default(), exchanges: Arc::default() };
        let (upstream, exchanges) = (tap.upstream.clone(), tap.exchanges.clone());
        tokio::spawn(async move {
            while let Ok((sender, _)) = listener.accept().await {
                let upstream = upstream.get().expect("connected before anyone sends").clone();
                tokio::spawn(relay(sender, upstream, exchanges.clone()));
            }
        });
        tap
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// In the order of the answers.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap().clone()
    }

    pub fn statuses(&self) -> Vec<u16> {
        self.exchanges.lock().unwrap().iter().map(|exchange| exchange.status).collect()
    }

    /// Once there are at least `n`.
    pub async fn wait(&self, n: usize) -> Vec<Exchange> {
        let start = Instant::now();
        while self.exchanges.lock().unwrap().len() < n {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "fewer than {n} requests: {:?}",
                self.exchanges()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.exchanges()
    }
}

impl Exchange {
    pub fn method(&self) -> &str {
        self.request.first_line().split(' ').next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.request.first_line().split(' ').nth(1).unwrap()
    }

    /// `Type/id` behind `/fhir/` or `/r4/`
    pub fn key(&self) -> &str {
        let target = self.target();
        ["/fhir/", "/r4/"].iter().find_map(|base| Some(target.split_once(base)?.1)).unwrap_or_default()
    }
}

impl Message {
    /// A recorded one.
    pub fn read(raw: Vec<u8>) -> Option<Self> {
        let head = raw.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        Some(Self { raw, head })
    }

    pub fn head(&self) -> &str {
        std::str::from_utf8(&self.raw[..self.head]).unwrap()
    }

    pub fn body(&self) -> &[u8] {
        &self.raw[self.head..]
    }

    pub fn first_line(&self) -> &str {
        self.head().lines().next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head().lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub fn status(&self) -> u16 {
        self.first_line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn body_length(&self) -> usize {
        assert!(self.header("transfer-encoding").is_none(), "the tap reads no chunks: {self:?}");
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

async fn relay(mut sender: TcpStream, upstream: String, exchanges: Arc<Mutex<Vec<Exchange>>>) {
    let Ok(mut receiver) = TcpStream::connect(upstream).await else { return };
    while let Some(request) = message(&mut sender).await {
        if receiver.write_all(&request.raw).await.is_err() {
            return;
        }
        let Some(answer) = message(&mut receiver).await else { return };
        let raw = answer.raw.clone();
        let status = answer.status();
        exchanges.lock().unwrap().push(Exchange { request, status, answer, at: Instant::now() });
        if sender.write_all(&raw).await.is_err() {
            return;
        }
    }
}

/// None where the connection ends first.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let mut raw = Vec::new();
    let mut message = loop {
        raw.push(stream.read_u8().await.ok()?);
        if raw.ends_with(b"\r\n\r\n") {
            break Message { head: raw.len(), raw };
        }
    };
    let mut body = vec![0; message.body_length()];
    stream.read_exact(&mut body).await.ok()?;
    message.raw.extend(body);
    Some(message)
}
