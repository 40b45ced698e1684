//! Memory with many deliveries in flight at once: a HealthLake that answers none of them until it has all.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::Result;
use crate::contestant::Programs;
use crate::drive::{Pattern, Until, drive};
use crate::payload::of_one_size;
use crate::upstream::Upstream;

#[derive(Args)]
pub struct Memory {
    #[command(flatten)]
    programs: Programs,
    /// Deliveries in flight
    #[arg(long, default_value_t = 1_000)]
    in_flight: usize,
    /// Bytes of each
    #[arg(long, default_value_t = 100_000)]
    size: usize,
}

impl Memory {
    pub async fn measure(&self) -> Result<()> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        // All of them come at once.
        let listener = socket.listen(8_192)?.into_std()?;
        let upstream = Upstream::elsewhere(listener.local_addr()?.port());
        let all_there = Arc::new(Barrier::new(self.in_flight));
        // On a thread of its own: it reads 100 MB and more.
        std::thread::spawn(move || serve(listener, &all_there).map_err(|error| error.to_string()));
        let payloads = of_one_size(self.size, self.in_flight);
        let bytes: usize = payloads.iter().map(|payload| payload.json.len()).sum();
        println!("\n{} deliveries, {:.0} MB in flight at once\n", self.in_flight, bytes as f64 / 1e6);
        println!("| | peak MB | times the bytes | beyond twice the bytes (MB) |\n|---|---|---|---|");
        for make in [Programs::lakehook, Programs::bare] {
            let mut contestant = make(&self.programs, &upstream)?;
            contestant.start().await?;
            let pattern = Pattern { connections: self.in_flight, rate: None, until: Until::Sent(1) };
            drive(contestant.address, contestant.base_path, &payloads, pattern).await?;
            let peak = contestant.peak_bytes()? as f64;
            let (times, beyond) = (peak / bytes as f64, (peak - 2.0 * bytes as f64) / 1e6);
            println!("| {} | {:.0} | {times:.2} | {beyond:.0} |", contestant.name, peak / 1e6);
        }
        Ok(())
    }
}

fn serve(listener: std::net::TcpListener, all_there: &Arc<Barrier>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let all_there = all_there.clone();
            let answer = service_fn(move |request| answer(request, all_there.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    all_there: Arc<Barrier>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    all_there.wait().await;
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"resourceType":"Patient"}"#)));
    // Without its media type it would be a gateway's page, and not HealthLake's word.
    for (name, value) in [("content-type", "application/fhir+json"), ("etag", "W/\"1\"")] {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    Ok(response)
}
