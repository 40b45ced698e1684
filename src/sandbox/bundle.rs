//! Bundles: `batch` and `transaction`.

use http::StatusCode;
use jiff::Timestamp;

use super::Config;
use super::answer::Answer;
use super::call::Call;
use super::store::Store;

pub(super) fn is_transaction(_: &Call) -> bool {
    false
}

pub(super) fn process(_: &Config, _: &mut Store, _: &Call, _: Timestamp) -> Result<Answer, Answer> {
    Err(Answer::empty(StatusCode::NOT_IMPLEMENTED))
}
