//! What there is to read: the types, and how many resources each has.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::cursor::TypeState;
use super::windows;
use crate::cdr::{Cdr, CdrError};
use crate::filter::Filter;

/// What many others refer to comes first, in case HealthLake wants to know a reference's target.
const FIRST: [&str; 7] =
    ["Organization", "Location", "Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Encounter"];
/// What sets up the CDR itself, and names this mirror's endpoint and token.
const NEVER: [&str; 1] = ["Subscription"];
const AT_ONCE: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("{0}")]
    Cdr(#[from] CdrError),
    #[error("{resource_type}: {error}")]
    Type { resource_type: String, error: CdrError },
    #[error("the CDR's CapabilityStatement names no resource types; name them with --type")]
    NoTypes,
}

/// Types with their counts, in the order in which they are read. None given: all that the CDR serves. Those that the
/// filter keeps out are left out.
pub async fn survey(
    cdr: &Cdr,
    given: &[String],
    since: Option<Timestamp>,
    filter: &Filter,
) -> Result<Vec<TypeState>, SurveyError> {
    let mut types = given.to_vec();
    if types.is_empty() {
        types = cdr.capabilities().await?.types;
        types.retain(|name| crate::delivery::is_resource_type(name) && !NEVER.contains(&name.as_str()));
        types.sort();
        types.dedup();
        types.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    }
    if types.is_empty() {
        return Err(SurveyError::NoTypes);
    }
    let kept_out: Vec<_> = types.extract_if(.., |name| filter.by_type(name).is_some()).collect();
    if !kept_out.is_empty() {
        tracing::info!(target: "lakehook::backfill", "types that the filter keeps out: {}", kept_out.join(", "));
    }
    let query = since.map(windows::since).unwrap_or_default();
    let counts =
        stream::iter(types).map(|name| count(cdr, name, &query)).buffered(AT_ONCE).collect::<Vec<_>>().await;
    counts.into_iter().collect()
}

/// A type that the CDR names and does not search is noted, and told in the end.
async fn count(cdr: &Cdr, name: String, query: &str) -> Result<TypeState, SurveyError> {
    match cdr.count(&name, query).await {
        Ok(count) => Ok(TypeState { name, count, unreadable: false }),
        Err(error) if unsearchable(&error) => {
            tracing::warn!(resource_type = name, %error, "the CDR does not search this type");
            Ok(TypeState { name, count: 0, unreadable: true })
        }
        Err(error) => Err(SurveyError::Type { resource_type: name, error }),
    }
}

pub fn unsearchable(error: &CdrError) -> bool {
    matches!(error.status(), Some(400 | 404 | 405 | 422 | 501))
}
