//! Dead letters, as far as a page or a log may tell of them.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deadletter::{Keeper, Letter, Name, StoreError};
use crate::delivery::Key;
use crate::verdict::issue_codes;

/// Read at once from the store
const PARALLEL: usize = 8;
/// Of one resource: there is one a version, and older ones are let go of.
const OF_ONE: usize = 20;

/// One letter, without what its issues quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterLine {
    pub id: String,
    pub key: String,
    pub interaction: String,
    pub version_id: Option<String>,
    /// The verdict it was refused with
    pub reason: String,
    /// FHIR's IssueTypes
    pub codes: Vec<String>,
    /// How often this version came
    pub attempts: u32,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl LetterLine {
    fn of(letter: &Letter) -> Self {
        Self {
            id: letter.id.to_string(),
            key: letter.key.to_string(),
            interaction: letter.interaction.to_string(),
            version_id: letter.version_id.as_deref().map(str::to_owned),
            reason: letter.reason.to_string(),
            codes: issue_codes(&letter.issues).into_iter().map(str::to_owned).collect(),
            attempts: letter.attempts,
            first: letter.first,
            last: letter.last,
        }
    }
}

/// Those of one resource. A queue can't be asked for one: none there.
pub async fn letters_of(keeper: &Keeper, key: &Key) -> Result<Vec<LetterLine>, StoreError> {
    let names = keeper.store().names_of(key).await?;
    Ok(read(keeper, names, OF_ONE).await)
}

/// The last ones written. None where looking would hide them from others, as in a queue.
pub async fn last_letters(keeper: &Keeper, most: usize) -> Result<Option<Vec<LetterLine>>, StoreError> {
    if !keeper.store().replaces() {
        return Ok(None);
    }
    let names = keeper.store().names().await?;
    Ok(Some(read(keeper, names, most).await))
}

/// One that can't be read, or is gone meanwhile, is left out.
async fn read(keeper: &Keeper, mut names: Vec<Name>, most: usize) -> Vec<LetterLine> {
    names.sort_by_key(|name| std::cmp::Reverse(name.at));
    names.truncate(most);
    let letters = names.into_iter().map(|name| {
        let store = keeper.store().clone();
        async move { store.letter(&name).await }
    });
    let letters: Vec<_> = stream::iter(letters).buffered(PARALLEL).collect().await;
    letters.iter().flatten().flatten().map(LetterLine::of).collect()
}
