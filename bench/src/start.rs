//! From the start of the process until `/readyz` says so.

use std::time::{Duration, Instant};

use clap::Args;

use crate::Result;
use crate::contestant::Programs;
use crate::upstream::Upstream;

#[derive(Args)]
pub struct Start {
    #[command(flatten)]
    programs: Programs,
    /// Starts; the middle one counts
    #[arg(long, default_value_t = 11)]
    times: usize,
}

impl Start {
    pub async fn measure(&self) -> Result<()> {
        let upstream = Upstream::start(false, 32).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut took = Vec::new();
        for _ in 0..self.times {
            let mut contestant = self.programs.lakehook(&upstream)?;
            let url = format!("http://{}/readyz", contestant.address);
            let started = Instant::now();
            contestant.spawn()?;
            while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if started.elapsed() > Duration::from_secs(30) {
                    return Err("it is not ready after 30 seconds".into());
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            took.push(started.elapsed());
        }
        took.sort();
        let ms = |duration: &Duration| duration.as_secs_f64() * 1e3;
        let (first, middle, last) = (took.first(), took.get(took.len() / 2), took.last());
        if let (Some(first), Some(middle), Some(last)) = (first, middle, last) {
            println!("start to ready: {:.1} ms ({:.1} to {:.1})", ms(middle), ms(first), ms(last));
        }
        Ok(())
    }
}
