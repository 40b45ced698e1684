//! Search by type, and an id's history: paged, and as late as the setting says.

use http::StatusCode;
use jiff::Timestamp;

use super::Config;
use super::answer::Answer;
use super::call::Call;
use super::store::Store;

pub(super) fn search(_: &Config, _: &Store, _: &Call, _: &str, _: Timestamp) -> Result<Answer, Answer> {
    Err(Answer::empty(StatusCode::NOT_IMPLEMENTED))
}

pub(super) fn history(
    _: &Config,
    _: &Store,
    _: &Call,
    _: (&str, &str),
    _: Timestamp,
) -> Result<Answer, Answer> {
    Err(Answer::empty(StatusCode::NOT_IMPLEMENTED))
}
