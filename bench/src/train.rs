//! What a profile-guided build learns from: the everyday mix at full speed, and some of every other type, so that
//! nothing that a CDR sends is taken for code that never runs.

use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::contestant::Programs;
use crate::drive::{Pattern, Until, drive};
use crate::payload::{Payload, Resources};
use crate::upstream::Upstream;

#[derive(Args)]
pub struct Train {
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    resources: Resources,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Of the everyday mix, over plain HTTP and over TLS each (seconds)
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Of all types: deliveries of each connection
    #[arg(long, default_value_t = 100)]
    of_every_type: u64,
}

impl Train {
    pub async fn drive(&self) -> Result<()> {
        let everyday = self.resources.payloads(self.connections)?;
        let every_type = self.resources.every_type(self.connections)?;
        for tls in [false, true] {
            let upstream = Upstream::start(tls, self.connections).await?;
            let mut lakehook = self.programs.lakehook(&upstream)?;
            lakehook.start().await?;
            let send = async |payloads: &[Payload], until| {
                let pattern = Pattern { connections: self.connections, rate: None, until };
                drive(lakehook.address, lakehook.base_path, payloads, pattern).await
            };
            let driven = send(&everyday, Until::Passed(Duration::from_secs(self.seconds))).await?;
            let others = send(&every_type, Until::Sent(self.of_every_type)).await?;
            eprintln!(
                "{} deliveries of the everyday mix, {} of every type",
                driven.deliveries, others.deliveries
            );
            // Only a program that ends by itself writes what it counted.
            lakehook.stop()?;
        }
        Ok(())
    }
}
