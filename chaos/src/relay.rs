//! Between lakehook and its order store: a TCP relay that can be cut or stall, so that the store is down without
//! forgetting what it holds.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections end, new ones at once
    Cut,
    /// Connections are taken, and nothing comes back
    Stalled,
}

pub struct Relay {
    pub url: String,
    way: watch::Sender<Way>,
}

impl Relay {
    /// To `upstream`, HOST:PORT.
    pub async fn start(upstream: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, upstream.clone(), seen.clone()));
            }
        });
        Ok(Self { url, way })
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry(mut stream: TcpStream, upstream: String, mut seen: watch::Receiver<Way>) {
    let now = *seen.borrow_and_update();
    let _ = stream.set_nodelay(true);
    if now == Way::Open
        && let Ok(mut other) = TcpStream::connect(&upstream).await
    {
        let _ = other.set_nodelay(true);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut stream, &mut other) => return,
            _ = seen.changed() => {}
        }
    }
    // Stalled: held until it is over. What was on its way is lost with the connection, as it would be.
    while *seen.borrow_and_update() == Way::Stalled {
        if seen.changed().await.is_err() {
            return;
        }
    }
}
