//! What every dead-letter store does.

use std::future::Future;
use std::pin::Pin;

use super::{Letter, Name, Payload, Stored};
use crate::delivery::Key;

/// Why a store could not do it. Holds no part of a letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the dead-letter store failed: {0}")]
    Failed(String),
    #[error(
        "the letter is too large for the queue: {bytes} bytes where SQS takes {limit}; use s3:// or dir for such resources"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error(
        "dead letter {letter} is encrypted with key {key}, which {have}; name the file that holds it by --dead-letters-key-file"
    )]
    Sealed { letter: String, key: String, have: &'static str },
    #[error("dead letter {letter} can't be read: {problem}")]
    Damaged { letter: String, problem: &'static str },
}

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub letters: u64,
    /// None where the store does not tell
    pub bytes: Option<u64>,
}

/// What a look at a store found, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub found: String,
    /// What is not as it should be, and what to do
    pub advice: Option<&'static str>,
}

/// Other processes may use the same store at the same time: what was there a moment ago may be gone.
pub trait DeadLetters: Send + Sync {
    /// Durable when it returns. A letter of the same id is replaced (a queue holds both).
    fn keep<'a>(&'a self, letter: &'a Letter, payload: Payload) -> Answer<'a, ()>;

    /// All that is kept, in no order. A queue hides what it tells from other readers until `close`.
    fn names(&self) -> Answer<'_, Vec<Name>>;

    /// Those of one resource, where that is cheap; none otherwise.
    fn names_of<'a>(&'a self, key: &'a Key) -> Answer<'a, Vec<Name>>;

    /// Without the payload; None where it is gone.
    fn letter<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Letter>>;

    fn read<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Stored>>;

    /// False where it was gone.
    fn remove<'a>(&'a self, name: &'a Name) -> Answer<'a, bool>;

    fn usage(&self) -> Answer<'_, Usage>;

    /// False where a letter that is kept again is there twice.
    fn replaces(&self) -> bool {
        true
    }

    /// True where the store lets go of old letters by its own setting.
    fn expires_by_itself(&self) -> bool {
        false
    }

    /// Tries what can be tried without writing.
    fn check(&self) -> Answer<'_, Checked>;

    /// What was told by `names` and not removed can be seen by other readers again.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// For logs: `dir`, `s3`, `sqs`
    fn kind(&self) -> &'static str;

    /// For people: the directory, the bucket, the queue
    fn place(&self) -> String;
}
