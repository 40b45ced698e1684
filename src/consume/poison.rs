//! Messages that can't be understood.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::message::Poison;

/// Among dead letters, in a resource type's place: no FHIR type has this name.
pub const MESSAGE: &str = "KafkaMessage";

/// What is done with one that no dead-letter store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnPoison {
    /// End before it with exit code 1; it comes again at the next start
    #[default]
    Stop,
    /// Pass it over, with a line in the log
    Skip,
}

/// A message as it came, and why it was not understood.
#[derive(Clone)]
pub struct Letter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub value: Bytes,
    pub why: Poison,
}

pub type Keeping<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Where such messages are kept.
pub trait Keep: Send + Sync {
    /// Durable when it returns; an error's text holds nothing of the message. Kept twice it is kept once.
    fn keep(&self, letter: Letter) -> Keeping<'_>;
}
