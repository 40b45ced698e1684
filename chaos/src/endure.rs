//! `soak` and `overload`: one lakehook with a data directory, as it is installed, under load for long or too much of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use crate::load::{Driven, drive};
use crate::process::{Process, clean, free_port};
use crate::sandbox::Sandbox;
use crate::stand::TOKEN;
use crate::watch::{Sample, growth, sample};
use crate::{Result, print};

#[derive(Args)]
pub struct Soak {
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Not judged: memory and pools fill [default: half of the time]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    warm_up: Option<Duration>,
    /// Deliveries a second [default: 70 % of what it is measured to take]
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Overload {
    /// How long it is too much
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    time: Duration,
    /// So many times its capacity
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// HealthLake takes so long for each write, which makes --max-in-flight the capacity
    #[arg(long, default_value_t = 500)]
    healthlake_ms: u64,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Common {
    /// The lakehook that is tried [default: target/release/lakehook, else target/debug/lakehook]
    #[arg(long)]
    pub lakehook: Option<PathBuf>,
    /// Where the result is written as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// `--max-in-flight` and `--deadline` by default
const MAX_IN_FLIGHT: usize = 256;
const DEADLINE: Duration = Duration::from_secs(8);
/// A straight line through the resident memory may rise by this part of it: an allocator is never quite still.
const FLAT: f64 = 0.05;

struct Lakehook {
    process: Process,
    address: SocketAddr,
}

impl Lakehook {
    async fn start(program: &Path, directory: &Path, healthlake: &str, keys: [&str; 2]) -> Result<Self> {
        let mut command = clean(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--token", TOKEN]);
        command.args(["--healthlake-endpoint", healthlake, "--region", "us-east-1", "--log-format", "json"]);
        // A line for each delivery would fill the disk in half an hour.
        command.args(["--log", "warn", "--data-dir"]).arg(directory.join("data"));
        command.env("AWS_ACCESS_KEY_ID", keys[0]).env("AWS_SECRET_ACCESS_KEY", keys[1]);
        let mut process = Process::start("lakehook", directory, command)?;
        let ready = process.said("ready ", Duration::from_secs(60)).await?;
        let address = ready.split('/').nth(2).ok_or("lakehook does not say where it listens")?.parse()?;
        Ok(Self { process, address })
    }
}

/// nginx in HealthLake's place: it answers at once as HealthLake does to a PUT of a new id, and keeps nothing. With 200 it
/// would look at `If-Match` itself.
async fn nginx(directory: &Path) -> Result<(Process, String)> {
    let port = free_port().await?;
    let at = directory.join("nginx");
    std::fs::create_dir(&at)?;
    let config = format!(
        r#"worker_processes 1; daemon off; pid {0}/pid; error_log stderr; events {{ worker_connections 4096; }}
           http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {0}/b; proxy_temp_path {0}/p;
           fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; server {{ listen 127.0.0.1:{port} backlog=4096;
           location / {{ add_header ETag 'W/"1"'; add_header x-amzn-requestid soak; default_type application/fhir+json;
           return 201 '{{"resourceType":"Patient"}}'; }} }} }}"#,
        at.display()
    );
    let path = at.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(path).arg("-p").arg(&at);
    let process = Process::start("nginx", directory, command)
        .map_err(|error| format!("{error}; Debian: apt install nginx-light"))?;
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok((process, format!("http://127.0.0.1:{port}/datastore/soak/r4")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("nginx does not listen after 10 s".into())
}

/// What it takes a second, once it is warm
async fn capacity(address: SocketAddr, connections: usize) -> Result<f64> {
    drive(address, connections, None, Duration::from_secs(3)).await?;
    let driven = drive(address, connections, None, Duration::from_secs(10)).await?;
    if driven.taken.is_empty() {
        return Err(format!("lakehook takes nothing: {:?}", driven.answers).into());
    }
    Ok(driven.per_second())
}

#[derive(Serialize)]
struct Soaked {
    capacity_per_second: f64,
    per_second: f64,
    deliveries: u64,
    not_taken: u64,
    p99_ms: f64,
    /// After the warm-up: by a straight line through the samples
    resident_growth_bytes: f64,
    resident_mean_bytes: f64,
    /// The most at once, in the warm-up and after it
    most_file_descriptors: [usize; 2],
    samples: Vec<Sample>,
}

/// Whether memory and file descriptors are flat, and everything was taken.
pub async fn soak(args: &Soak, program: &Path) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let (mut nginx, healthlake) = nginx(directory.path()).await?;
    let keys = ["AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"];
    let lakehook = Lakehook::start(program, directory.path(), &healthlake, keys).await?;
    let pid = lakehook.process.pid()?;
    let capacity = capacity(lakehook.address, args.connections).await?;
    let rate = args.rate.unwrap_or(capacity * 0.7);
    print(&format!("it takes {capacity:.0} a second; {rate:.0} a second for {:?}", args.time));
    let every = (args.time / 180).max(Duration::from_secs(1));
    let (started, mut samples) = (Instant::now(), Vec::new());
    let driving = drive(lakehook.address, args.connections, Some(rate), args.time);
    tokio::pin!(driving);
    let mut ticks = tokio::time::interval(every);
    let driven: Driven = loop {
        tokio::select! {
            driven = &mut driving => break driven?,
            _ = ticks.tick() => {
                let sample = sample(pid, started.elapsed().as_secs_f64())?;
                // One in six is shown, all are judged.
                if samples.len() % 6 == 0 {
                    let Sample { seconds, resident_bytes, file_descriptors, threads } = sample;
                    let mb = resident_bytes as f64 / 1e6;
                    print(&format!("{seconds:>6.0} s  {mb:>6.1} MB  {file_descriptors:>4} fds  {threads:>3} threads"));
                }
                samples.push(sample);
            }
        }
    };
    nginx.terminate(Duration::from_secs(5)).await?;
    let warm_up = args.warm_up.unwrap_or(args.time / 2).as_secs_f64();
    let (before, judged): (Vec<Sample>, Vec<Sample>) =
        samples.iter().copied().partition(|sample| sample.seconds < warm_up);
    let most = |samples: &[Sample]| samples.iter().map(|sample| sample.file_descriptors).max().unwrap_or(0);
    let resident = |sample: &Sample| sample.resident_bytes as f64;
    let soaked = Soaked {
        capacity_per_second: capacity,
        per_second: driven.per_second(),
        deliveries: driven.taken.len(),
        not_taken: driven.answers.values().sum::<u64>() - driven.taken.len(),
        p99_ms: driven.taken.value_at_quantile(0.99) as f64 / 1e3,
        resident_growth_bytes: growth(&judged, resident),
        resident_mean_bytes: judged.iter().map(resident).sum::<f64>() / judged.len().max(1) as f64,
        most_file_descriptors: [most(&before), most(&judged)],
        samples,
    };
    let Soaked {
        deliveries,
        not_taken,
        p99_ms,
        resident_growth_bytes,
        resident_mean_bytes,
        most_file_descriptors: [most_before, most_after],
        ..
    } = &soaked;
    // Pools breathe: what counts is that they do not grow beyond what they once were.
    let (flat, descriptors) =
        (resident_growth_bytes / resident_mean_bytes < FLAT, *most_after <= most_before + 2);
    print(&format!(
        "{deliveries} deliveries, {not_taken} not taken {:?}, p99 {p99_ms:.1} ms; after {warm_up:.0} s: memory {:+.2} MB of {:.1} MB \
         ({}), file descriptors at most {most_before}, then {most_after} ({})",
        driven.answers,
        resident_growth_bytes / 1e6,
        resident_mean_bytes / 1e6,
        if flat { "flat" } else { "GROWS" },
        if descriptors { "flat" } else { "GROW" },
    ));
    write(&args.common, &soaked)?;
    Ok(flat && descriptors && *not_taken == 0)
}

#[derive(Serialize)]
struct Overloaded {
    capacity_per_second: f64,
    offered_per_second: f64,
    taken: u64,
    taken_per_second: f64,
    shed: u64,
    other_answers: std::collections::BTreeMap<u16, u64>,
    taken_p50_ms: f64,
    taken_p99_ms: f64,
    taken_max_ms: f64,
    shed_p99_ms: f64,
    resident_before_bytes: u64,
    resident_after_bytes: u64,
    /// After the overload, at 70 %: when the last one was not taken
    recovered_after_ms: f64,
}

/// Whether it sheds with 503 alone, is on time with the rest, and is itself again within a second.
pub async fn overload(args: &Overload, program: &Path) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let hour = Duration::from_secs(3600);
    let sandbox = Sandbox::start(program, directory.path(), hour, Vec::new()).await?;
    sandbox.always(&json!({ "delayMs": args.healthlake_ms, "service": "healthlake" })).await?;
    let keys = [sandbox.access_key_id.as_str(), sandbox.secret_access_key.as_str()];
    let lakehook = Lakehook::start(program, directory.path(), &sandbox.endpoint, keys).await?;
    let pid = lakehook.process.pid()?;
    let capacity = capacity(lakehook.address, MAX_IN_FLIGHT).await?;
    let rate = capacity * args.times;
    let before = sample(pid, 0.0)?.resident_bytes;
    print(&format!("it takes {capacity:.0} a second; {rate:.0} a second for {:?}", args.time));
    // So many that none of them waits for its last answer: what is due is sent.
    let connections = (rate * args.healthlake_ms as f64 / 1e3 * 2.0) as usize + MAX_IN_FLIGHT;
    let driven = drive(lakehook.address, connections, Some(rate), args.time).await?;
    let after = drive(lakehook.address, MAX_IN_FLIGHT, Some(capacity * 0.7), Duration::from_secs(10)).await?;
    let millis = |micros: u64| micros as f64 / 1e3;
    let overloaded = Overloaded {
        capacity_per_second: capacity,
        offered_per_second: driven.answers.values().sum::<u64>() as f64 / driven.time.as_secs_f64(),
        taken: driven.taken.len(),
        taken_per_second: driven.per_second(),
        shed: driven.shed.len(),
        other_answers: driven.others(),
        taken_p50_ms: millis(driven.taken.value_at_quantile(0.5)),
        taken_p99_ms: millis(driven.taken.value_at_quantile(0.99)),
        taken_max_ms: millis(driven.taken.max()),
        shed_p99_ms: millis(driven.shed.value_at_quantile(0.99)),
        resident_before_bytes: before,
        resident_after_bytes: sample(pid, 0.0)?.resident_bytes,
        recovered_after_ms: after.last_not_taken.unwrap_or_default().as_secs_f64() * 1e3,
    };
    let Overloaded { taken, shed, taken_p50_ms, taken_p99_ms, taken_max_ms, shed_p99_ms, .. } = &overloaded;
    print(&format!(
        "{:.0} a second came: {taken} taken ({:.0} a second), {shed} answered 503, other answers {:?}\n\
         taken: p50 {taken_p50_ms:.0} ms, p99 {taken_p99_ms:.0} ms, at most {taken_max_ms:.0} ms; 503: p99 {shed_p99_ms:.0} ms\n\
         memory {:.1} MB before, {:.1} MB after\n\
         afterwards at 70 %: {} taken, {} not; the last of these {:.0} ms after the overload",
        overloaded.offered_per_second,
        overloaded.taken_per_second,
        overloaded.other_answers,
        before as f64 / 1e6,
        overloaded.resident_after_bytes as f64 / 1e6,
        after.taken.len(),
        after.answers.values().sum::<u64>() - after.taken.len(),
        overloaded.recovered_after_ms,
    ));
    write(&args.common, &overloaded)?;
    let on_time = *taken_p99_ms < DEADLINE.as_secs_f64() * 1e3;
    let sheds = *shed > 0 && overloaded.other_answers.is_empty();
    Ok(on_time && sheds && overloaded.recovered_after_ms < 1000.0)
}

fn write(common: &Common, result: &impl Serialize) -> Result<()> {
    match &common.json {
        Some(path) => Ok(std::fs::write(path, serde_json::to_vec_pretty(result)?)?),
        None => Ok(()),
    }
}
