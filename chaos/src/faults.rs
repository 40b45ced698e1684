//! What goes wrong, and when: by chance all the time, and one trouble after another as the changes go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::Result;
use crate::relay::Way;
use crate::sandbox::Sandbox;
use crate::stand::{Forwarder, Stand};
use crate::storm::Storm;

/// Of the credentials that the sandbox's STS gives out, so that they expire many times in minutes.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30);
/// Renewed after half of their lifetime or a little later, so that they expire within this.
const STS_DOWN: Duration = Duration::from_secs(28);
const ORDER_DOWN: Duration = Duration::from_secs(6);
/// The replicas' clocks, within what docs/order.md asks of them: 2 s between instances.
pub const OFFSETS: [&str; 3] = ["+0", "+0.9", "-0.9"];
/// As `--order-clock-skew`, of the replica that is the most behind
pub const CLOCK_SKEW: &str = "2s";

/// In every run
pub fn by_chance() -> Vec<Value> {
    [
        json!({ "status": 503, "rate": 0.02 }),
        json!({ "status": 500, "rate": 0.01 }),
        json!({ "throttle": true, "rate": 0.02 }),
        json!({ "cut": "before", "rate": 0.01 }),
        json!({ "cut": "after", "rate": 0.01 }),
        json!({ "delayMs": 250, "rate": 0.05 }),
    ]
    .into_iter()
    .map(|mut fault| {
        fault["service"] = "healthlake".into();
        fault
    })
    .collect()
}

/// What takes its time: one after the other.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Kill,
    RollingRestart,
    StsDown,
    OrderCut,
    OrderStalled,
    HapiRestart,
}

/// What is asked of HealthLake and strikes with the next requests.
#[derive(Clone, Copy, Debug)]
enum Strike {
    /// 503 to everything for a while
    Outage,
    /// Slower than the deadline; done all the same
    Stall,
    /// Failed, and done seconds later
    Late,
    Garbage,
}

/// Both in the seed's order; more of them the longer the storm is.
fn plan(seed: u64, changes: usize) -> (Vec<Trouble>, Vec<Strike>) {
    use Strike::*;
    use Trouble::*;
    let (mut troubles, mut strikes) = (Vec::new(), Vec::new());
    for round in 0..changes.div_ceil(2500) {
        troubles.extend([Kill, Kill, Kill, RollingRestart, StsDown, OrderCut, OrderStalled]);
        strikes.extend([Outage, Stall, Stall, Late, Late, Garbage, Garbage]);
        if round % 2 == 0 {
            troubles.push(HapiRestart);
        }
    }
    let mut random = Rng::with_seed(seed ^ 0x7472_6f75_626c_6573);
    random.shuffle(&mut troubles);
    random.shuffle(&mut strikes);
    (troubles, strikes)
}

/// Until the last trouble is over; how many there were of each kind.
pub async fn run(
    stand: &mut Stand,
    storm: Arc<Storm>,
    seed: u64,
    changes: usize,
    say: impl Fn(&str),
) -> Result<BTreeMap<String, u64>> {
    let (mut troubles, strikes) = plan(seed, changes);
    // The pass-through has neither an order store nor credentials that expire.
    let lakehook = stand.forwarder == Forwarder::Lakehook;
    troubles
        .retain(|t| lakehook || !matches!(t, Trouble::StsDown | Trouble::OrderCut | Trouble::OrderStalled));
    let sandbox = stand.sandbox.clone();
    sandbox.rage().await?;
    let reached = async |n: usize, of: usize| {
        while storm.made() < (n + 1) * changes / (of + 2) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let striking = async {
        for (n, one) in strikes.iter().enumerate() {
            reached(n, strikes.len()).await;
            say(&format!("{} of {changes} changes: {one:?}", storm.made()));
            strike(*one, &sandbox).await?;
        }
        Result::Ok(())
    };
    let troubling = async {
        let (mut random, mut done) = (Rng::with_seed(seed), BTreeMap::new());
        for (n, one) in troubles.iter().enumerate() {
            reached(n, troubles.len()).await;
            say(&format!("{} of {changes} changes: {one:?}", storm.made()));
            let name = trouble(*one, stand, &storm, &mut random).await?;
            *done.entry(name.to_owned()).or_default() += 1;
            let crashed = stand.crashed()?;
            if !crashed.is_empty() {
                return Err(crashed.join("\n").into());
            }
        }
        Result::Ok(done)
    };
    let (done, ()) = tokio::try_join!(troubling, striking)?;
    Ok(done)
}

async fn trouble(one: Trouble, stand: &mut Stand, storm: &Storm, random: &mut Rng) -> Result<&'static str> {
    match one {
        Trouble::Kill => {
            let n = random.usize(..stand.replicas.len());
            stand.kill(n).await?;
            tokio::time::sleep(Duration::from_millis(random.u64(200..2000))).await;
            stand.start_replica(n).await?;
            Ok("kill -9 of a replica")
        }
        Trouble::RollingRestart => {
            let mut orderly = true;
            for n in 0..stand.replicas.len() {
                orderly &= stand.terminate(n).await?;
                stand.start_replica(n).await?;
            }
            if !orderly && stand.forwarder == Forwarder::Lakehook {
                return Err("a replica did not end in good order after SIGTERM".into());
            }
            Ok("rolling restart by SIGTERM")
        }
        Trouble::StsDown => {
            let fault = json!({ "status": 500, "service": "sts" });
            stand.sandbox.always(&fault).await?;
            tokio::time::sleep(STS_DOWN).await;
            stand.sandbox.lift(&fault).await?;
            Ok("STS down until credentials expired")
        }
        Trouble::OrderCut | Trouble::OrderStalled => {
            let cut = matches!(one, Trouble::OrderCut);
            stand.relay.set(if cut { Way::Cut } else { Way::Stalled });
            tokio::time::sleep(ORDER_DOWN).await;
            stand.relay.set(Way::Open);
            Ok(if cut { "order store cut off" } else { "order store hangs" })
        }
        Trouble::HapiRestart => {
            storm.hapi.write().await.restart().await?;
            Ok("restart of HAPI")
        }
    }
}

async fn strike(one: Strike, sandbox: &Sandbox) -> Result<()> {
    let faults = match one {
        Strike::Outage => vec![("503 in a row", json!({ "status": 503 }), 40)],
        Strike::Stall => vec![("stalled for 12 s, and done", json!({ "delayMs": 12_000 }), 2)],
        Strike::Late => vec![
            ("failed, and done 3 s later", json!({ "lateMs": 3_000 }), 2),
            ("cut, and done 3 s later", json!({ "lateMs": 3_000, "cut": "before" }), 1),
        ],
        Strike::Garbage => vec![
            (
                "a page of HTML",
                json!({ "status": 502, "body": "<html>Bad Gateway</html>", "contentType": "text/html" }),
                2,
            ),
            (
                "done, answered by a page of HTML",
                json!({ "body": "<html>ok</html>", "contentType": "text/html" }),
                2,
            ),
            (
                "done, answered by half a JSON",
                json!({ "body": "{\"resourceType\":\"Pat", "contentType": "application/fhir+json" }),
                2,
            ),
        ],
    };
    for (name, mut fault, count) in faults {
        fault["service"] = "healthlake".into();
        sandbox.add(name, fault, count).await?;
    }
    Ok(())
}
