//! Everything that the CDR has, brought to HealthLake: read there page by page, in windows of time that can be
//! resumed, and forwarded through the one `Mirror`; or written as NDJSON for HealthLake's import. Or the CDR itself
//! is asked to deliver it once more.
//!
//! `survey` and `windows` say what is read, `read` reads it; `direct` forwards it; `export` writes it into a `feed`,
//! which a `job` imports and whose `results` are read. `cursor` remembers how far all that is.

mod cursor;
mod direct;
mod export;
mod feed;
mod job;
mod listen;
mod places;
mod progress;
mod read;
mod report;
mod results;
mod survey;
mod table;
mod trigger;
mod windows;

pub use cursor::{Cursor, CursorError, CursorFile, CursorStore, Exported, JobState, Position, What, beside};
pub use direct::{Direct, Outcome, Stop};
pub use export::Export;
pub use feed::{Feed, FeedError};
pub use job::{Job, JobError, JobOf, JobSettings, Looked, has_ended, watch};
pub use listen::{Live, LiveError};
pub use places::{Object, Place, PlaceError, S3, S3Uri, client as s3_client};
pub use progress::{Counts, Progress};
pub use read::{Item, ReadError, Reader, Skips};
pub use report::{Refused, Report};
pub use results::read as read_results;
pub use survey::{SurveyError, survey};
pub use table::CursorTable;
pub use trigger::{Trigger, TriggerError, Triggered};
pub use windows::since;
