//! The log off the hot path: a delivery's line goes into memory, and a thread writes what has gathered. A reader of
//! our log that is stuck stops neither deliveries nor, by its bound, memory: lines beyond it are dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written (bytes): some twenty thousand lines.
const MOST: usize = 16 << 20;
/// Lines of so long are written at once.
const GATHER: Duration = Duration::from_millis(10);

/// Gathers lines; its clones share what they gather.
#[derive(Clone)]
pub struct LogWriter {
    gathered: Arc<Gathered>,
    writing: Thread,
}

struct Gathered {
    lines: Mutex<Vec<u8>>,
    /// Held while lines are written, so that they stay in order.
    out: Mutex<Box<dyn Write + Send>>,
    dropped: AtomicU64,
    /// Written at once from now on
    ended: AtomicBool,
}

impl LogWriter {
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let gathered = Arc::new(Gathered {
            lines: Mutex::default(),
            out: Mutex::new(Box::new(out)),
            dropped: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let writer = gathered.clone();
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                thread::park();
                thread::sleep(GATHER);
                writer.write();
            }
        })?;
        Ok(Self { gathered, writing: thread.thread().clone() })
    }

    /// Lines that were dropped because they could not be written in time
    pub fn dropped(&self) -> u64 {
        self.gathered.dropped.load(Ordering::Relaxed)
    }

    /// Writes what has gathered. What comes later is written at once: the process ends.
    pub fn end(&self) {
        self.gathered.ended.store(true, Ordering::Relaxed);
        self.gathered.write();
    }
}

impl Gathered {
    fn write(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        // There is nobody to tell.
        let _ = out.write_all(&lines).and_then(|()| out.flush());
    }

    /// Whether the thread has to be woken.
    fn add(&self, line: &[u8]) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() + line.len() > MOST {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let first = lines.is_empty();
        lines.extend_from_slice(line);
        first
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.gathered.add(line) {
            if self.gathered.ended.load(Ordering::Relaxed) {
                self.gathered.write();
            } else {
                self.writing.unpark();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what was written; writes nothing while it is held.
    struct Pipe {
        written: mpsc::Sender<Vec<u8>>,
        held: Arc<Mutex<()>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _held = self.held.lock().unwrap();
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (LogWriter, mpsc::Receiver<Vec<u8>>, Arc<Mutex<()>>) {
        let (written, read) = mpsc::channel();
        let held = Arc::new(Mutex::new(()));
        (LogWriter::new(Pipe { written, held: held.clone() }).unwrap(), read, held)
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (log, read, _) = pipe();
        let mut expected = String::new();
        for n in 0..1_000 {
            let line = format!("line {n}\n");
            (&log).write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
        }
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(read.recv_timeout(Duration::from_secs(60)).unwrap());
        }
        assert_eq!(seen, expected.as_bytes());
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_stuck_reader_costs_lines_not_deliveries() {
        let (log, read, held) = pipe();
        let stuck = held.lock().unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            (&log).write_all(&line).unwrap();
        }
        let dropped = log.dropped();
        // One buffer may be on its way already.
        assert!((100 - 2 * 16..=100 - 16).contains(&dropped), "{dropped}");
        drop(stuck);
        log.end();
        let written: usize = read.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(written as u64, (100 - dropped) << 20);
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let (log, read, _) = pipe();
        (&log).write_all(b"last\n").unwrap();
        log.end();
        (&log).write_all(b"after\n").unwrap();
        let written: Vec<u8> = read.try_iter().flatten().collect();
        assert_eq!(written, b"last\nafter\n");
    }
}
