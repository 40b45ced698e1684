//! How far it is, for whoever waits: a bar on a terminal, else a line every ten seconds.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::cursor::Counted;

/// The rate is that of the last half minute.
const WINDOW: Duration = Duration::from_secs(30);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Resources so far, those of earlier runs included.
#[derive(Debug, Default)]
pub struct Counts {
    settled: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
}

impl Counts {
    pub fn of(counted: Counted) -> Self {
        let counts = Self::default();
        counts.settled.store(counted.settled + counted.filtered, Ordering::Relaxed);
        counts.refused.store(counted.refused, Ordering::Relaxed);
        counts.skipped.store(counted.skipped, Ordering::Relaxed);
        counts
    }

    pub fn settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    /// Instead of what was counted so far.
    pub fn set(&self, settled: u64, refused: u64) {
        self.settled.store(settled, Ordering::Relaxed);
        self.refused.store(refused, Ordering::Relaxed);
    }

    pub fn refused(&self, n: u64) {
        self.refused.fetch_add(n, Ordering::Relaxed);
    }

    pub fn skipped(&self, n: u64) {
        self.skipped.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64, u64) {
        let get = |at: &AtomicU64| at.load(Ordering::Relaxed);
        (get(&self.settled), get(&self.refused), get(&self.skipped))
    }
}

pub struct Progress {
    total: u64,
    bar: Option<ProgressBar>,
    /// When so many were done
    history: VecDeque<(Instant, u64)>,
    said: Instant,
}

impl Progress {
    pub fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { total, bar, history: VecDeque::new(), said: Instant::now() }
    }

    /// To be called a few times a second. `rate` is the budget (units per second). Returns a line where there is
    /// no terminal and it is time for one.
    pub fn tick(&mut self, counts: &Counts, rate: Option<f64>) -> Option<String> {
        let now = Instant::now();
        let (settled, refused, skipped) = counts.get();
        let done = settled + refused + skipped;
        self.history.push_back((now, done));
        while self.history.len() > 2 && now - self.history[0].0 > WINDOW {
            self.history.pop_front();
        }
        let speed = self.speed();
        let text = line(done, self.total, speed, rate, refused);
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.total.max(done));
                bar.set_position(done);
                bar.set_message(text);
                None
            }
            None if now - self.said >= LINE_EVERY => {
                self.said = now;
                Some(text)
            }
            None => None,
        }
    }

    /// Resources per second
    fn speed(&self) -> f64 {
        let (Some(first), Some(last)) = (self.history.front(), self.history.back()) else { return 0.0 };
        let passed = (last.0 - first.0).as_secs_f64();
        if passed < 0.5 { 0.0 } else { (last.1 - first.1) as f64 / passed }
    }

    /// Texts meanwhile go above the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(done: u64, total: u64, speed: f64, rate: Option<f64>, refused: u64) -> String {
    let mut text = format!("{done} of {} resources, {speed:.0}/s", total.max(done));
    if let Some(rate) = rate {
        text.push_str(&format!(", budget {rate:.0} KB/s"));
    }
    text.push_str(&format!(", {refused} refused"));
    let left = total.saturating_sub(done);
    if left > 0 && speed >= 0.1 {
        let seconds = (left as f64 / speed).min(1e9).ceil() as u64;
        text.push_str(&format!(", {} left", humantime::format_duration(Duration::from_secs(seconds))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_end() {
        assert_eq!(
            line(10, 100, 3.0, Some(42.4), 2),
            "10 of 100 resources, 3/s, budget 42 KB/s, 2 refused, 30s left"
        );
        assert_eq!(line(120, 100, 3.0, None, 0), "120 of 120 resources, 3/s, 0 refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_every_ten_seconds_with_the_rate_of_the_last_half_minute() {
        let counts = Counts::of(Counted { settled: 500, ..Counted::default() });
        let mut progress =
            Progress { total: 10_000, bar: None, history: VecDeque::new(), said: Instant::now() };
        let mut lines = Vec::new();
        for second in 0..100 {
            lines.extend(progress.tick(&counts, None));
            tokio::time::sleep(Duration::from_secs(1)).await;
            for _ in 0..(if second < 50 { 10 } else { 2 }) {
                counts.settled();
            }
        }
        assert_eq!(lines.len(), 9, "{lines:?}");
        assert!(lines[2].contains("10/s"), "{lines:?}");
        assert!(lines[8].contains(", 2/s"), "{lines:?}");
    }
}
