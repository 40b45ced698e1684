//! What a process holds, sample by sample, and whether that grows.

use std::fs;

use serde::Serialize;

use crate::Result;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Since the load began
    pub seconds: f64,
    pub resident_bytes: u64,
    pub file_descriptors: usize,
    pub threads: u64,
}

pub fn sample(pid: u32, seconds: f64) -> Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Sample {
        seconds,
        resident_bytes: number("VmRSS:")? * 1024,
        file_descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        threads: number("Threads:")?,
    })
}

/// What a straight line through the samples grows by, from the first to the last.
pub fn growth(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    let n = samples.len() as f64;
    let mean_x = samples.iter().map(|sample| sample.seconds).sum::<f64>() / n;
    let mean_y = samples.iter().map(&of).sum::<f64>() / n;
    let (mut up, mut square) = (0.0, 0.0);
    for sample in samples {
        let x = sample.seconds - mean_x;
        up += x * (of(sample) - mean_y);
        square += x * x;
    }
    if square == 0.0 { 0.0 } else { up / square * (last.seconds - first.seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f64) -> u64) -> Vec<Sample> {
        let sample = |n| {
            let seconds = f64::from(n) * 10.0;
            Sample { seconds, resident_bytes: of(seconds), file_descriptors: 40, threads: 4 }
        };
        (0..60).map(sample).collect()
    }

    #[test]
    fn a_leak_is_seen_through_noise_and_noise_alone_is_none() {
        let noise = |seconds: f64| ((seconds * 7.0).sin().abs() * 1e6) as u64;
        let flat = growth(&samples(|s| 50_000_000 + noise(s)), |s| s.resident_bytes as f64);
        assert!(flat.abs() < 500_000.0, "{flat}");
        let leak =
            growth(&samples(|s| 50_000_000 + noise(s) + (s * 10_000.0) as u64), |s| s.resident_bytes as f64);
        assert!((5_000_000.0..7_000_000.0).contains(&leak), "{leak}");
        assert_eq!(growth(&samples(|_| 1), |s| s.file_descriptors as f64), 0.0);
        assert_eq!(growth(&[], |_| 1.0), 0.0);
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let me = sample(std::process::id(), 0.0).expect("a sample of this process");
        assert!(me.resident_bytes > 1 << 20 && me.file_descriptors >= 3 && me.threads >= 1, "{me:?}");
    }
}
