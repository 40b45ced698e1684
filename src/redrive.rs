//! What was refused is sent again, for the command and for the console, and removed once it is settled. With a CDR that
//! is what the CDR has now; else what was kept, under the rules of the order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consume::MESSAGE;
use crate::deadletter::{DeadLetters, Letter, Name, Payload};
use crate::delivery::{Addressed, Delivery, Key};
use crate::mirror::{Mirror, Told, patiently};
use crate::receive::{Content, Media, put};
use crate::validate::Validator;
use crate::verdict::{Verdict, issue_codes};

/// A letter that is to be sent again.
#[derive(Clone, Debug)]
pub struct Selected {
    pub name: Name,
    pub letter: Letter,
}

/// The letters of one resource: one forward settles them all, or each is sent in its turn.
pub struct Resource {
    pub key: Key,
    pub letters: Vec<Selected>,
}

#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Letters by what became of them
    pub removed: usize,
    pub verdicts: BTreeMap<String, usize>,
    pub refused: usize,
    pub failed: usize,
    pub untried: usize,
}

/// Without a CDR: a deletion, or a re-creation, came meanwhile.
const IN_DOUBT: &str = "not sent: nothing tells whether it is newer than what was forwarded or deleted meanwhile; set --cdr-url, or drop it";

/// What became of one resource.
enum Outcome {
    Settled(String),
    /// `again`: it has been kept anew.
    Refused {
        text: String,
        again: bool,
    },
    Failed(String),
}

/// Those refused first at the top, in the resource too.
pub fn by_resource(selected: &[Selected]) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for selected in selected {
        let key = &selected.name.key;
        let place = *places.entry(key.clone()).or_insert_with(|| {
            resources.push(Resource { key: key.clone(), letters: Vec::new() });
            resources.len() - 1
        });
        resources[place].letters.push(selected.clone());
    }
    resources
}

/// Sends letters again, through the one `Forward`.
pub struct Redrive<'a> {
    pub store: &'a dyn DeadLetters,
    pub mirror: &'a dyn Mirror,
    pub validator: &'a Validator,
    /// What the CDR has now is sent, not what was kept.
    pub ask_cdr: bool,
    /// With what may be sent again; zero: one attempt
    pub patience: Duration,
}

/// Told what did not go as it should, of a resource: no part of its content.
pub type Tell<'a> = &'a (dyn Fn(&Key, &str) + Sync);

impl Redrive<'_> {
    pub async fn one(&self, resource: &Resource, summary: &mut Summary, tell: Tell<'_>) {
        if resource.key.resource_type() == MESSAGE {
            return self.messages(resource, summary, tell).await;
        }
        if self.ask_cdr {
            let delivery = Delivery::Changed { key: resource.key.clone() };
            let outcome = self.forward(delivery).await;
            self.settle(resource, &resource.letters, outcome, summary, tell).await;
            return;
        }
        for selected in &resource.letters {
            let outcome = match self.stored(selected).await {
                Ok(Some(delivery)) => self.forward(delivery).await,
                // Removed meanwhile: by a newer version, or by somebody else.
                Ok(None) => continue,
                Err(outcome) => outcome,
            };
            self.settle(resource, std::slice::from_ref(selected), outcome, summary, tell).await;
        }
    }

    /// Messages of a failed channel that were not understood: this version may understand them.
    async fn messages(&self, resource: &Resource, summary: &mut Summary, tell: Tell<'_>) {
        for selected in &resource.letters {
            let stored = match self.store.read(&selected.name).await {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    let outcome = Outcome::Failed(error.to_string());
                    self.settle(resource, std::slice::from_ref(selected), outcome, summary, tell).await;
                    continue;
                }
            };
            let again = false;
            let outcome = match crate::consume::key(&stored.payload.0) {
                Ok(key) if self.ask_cdr => self.forward(Delivery::Changed { key }).await,
                Ok(_) => Outcome::Refused {
                    text: "set --cdr-url: the message names a resource only".into(),
                    again,
                },
                Err(why) => Outcome::Refused { text: format!("still not understood: {why}"), again },
            };
            self.settle(resource, std::slice::from_ref(selected), outcome, summary, tell).await;
        }
    }

    /// The delivery as it was kept.
    async fn stored(&self, selected: &Selected) -> Result<Option<Delivery>, Outcome> {
        let stored = self.store.read(&selected.name).await;
        let Some(stored) = stored.map_err(|error| Outcome::Failed(error.to_string()))? else {
            return Ok(None);
        };
        delivery(&stored.letter, stored.payload, self.validator).map(Some)
    }

    async fn forward(&self, delivery: Delivery) -> Outcome {
        match patiently(self.mirror, delivery, self.patience).await {
            // Something newer was forwarded, or was not: a letter that nothing else tells of is not thrown away.
            Ok(told) if told.settled && told.in_doubt && told.verdict == Verdict::Superseded.name() => {
                Outcome::Refused { text: IN_DOUBT.to_owned(), again: false }
            }
            Ok(Told { settled: true, verdict, .. }) => Outcome::Settled(verdict),
            Ok(told) if told.retryable => Outcome::Failed(told.verdict),
            Ok(told) => {
                let codes = issue_codes(&told.issues);
                let (reason, again) = match &told.refused {
                    Some(refused) => (refused, true),
                    None => (&told.verdict, false),
                };
                Outcome::Refused { text: format!("still refused: {reason} {}", codes.join(",")), again }
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// A letter goes once it is known that the mirror needs it no more.
    async fn settle(
        &self,
        resource: &Resource,
        letters: &[Selected],
        outcome: Outcome,
        summary: &mut Summary,
        tell: Tell<'_>,
    ) {
        let tell = |text: &str| tell(&resource.key, text.trim_end());
        match outcome {
            Outcome::Settled(verdict) => {
                for selected in letters {
                    // Without a version, what is refused next takes the same place: that is not what was settled.
                    let now = self.store.letter(&selected.name).await;
                    if now.is_ok_and(|now| now.is_some_and(|now| now.last != selected.letter.last)) {
                        tell(&format!("{verdict}, and refused again meanwhile: letter {}", selected.name.id));
                        summary.refused += 1;
                        continue;
                    }
                    match self.store.remove(&selected.name).await {
                        Ok(_) => summary.removed += 1,
                        Err(error) => {
                            tell(&format!("{verdict}, but its letter is still there: {error}"));
                            summary.failed += 1;
                        }
                    }
                }
                *summary.verdicts.entry(verdict).or_default() += letters.len();
            }
            Outcome::Refused { text, again } => {
                tell(&text);
                summary.refused += letters.len();
                // A queue holds it twice now.
                if again && !self.store.replaces() {
                    for selected in letters {
                        if let Err(error) = self.store.remove(&selected.name).await {
                            tell(&format!("the older message is still there: {error}"));
                        }
                    }
                }
            }
            Outcome::Failed(text) => {
                tell(&format!("not settled: {text}"));
                summary.failed += letters.len();
            }
        }
    }
}

/// What was kept is read as it was when it came: another version of lakehook may take what this one's ancestor refused.
fn delivery(letter: &Letter, payload: Payload, validator: &Validator) -> Result<Delivery, Outcome> {
    let key = letter.key.clone();
    if letter.is_delete() {
        return Ok(Delivery::Delete { key });
    }
    if letter.media.as_deref() != Some("application/fhir+xml") {
        return Ok(Delivery::Upsert { addressed: Addressed::to(&key), json: payload.0, verbatim: true });
    }
    let content = Content { media: Media::FhirXml, content_type: None, version_id: None, bytes: payload.0 };
    put(key, content, validator).map_err(|verdict| Outcome::Refused {
        text: format!("still refused: {}", verdict.name()),
        again: false,
    })
}

impl Summary {
    /// In a line
    pub fn text(&self) -> String {
        let verdicts: BTreeSet<String> =
            self.verdicts.iter().map(|(verdict, letters)| format!("{letters} {verdict}")).collect();
        let verdicts = verdicts.into_iter().collect::<Vec<_>>().join(", ");
        let mut parts = vec![match verdicts.as_str() {
            "" => "0 redriven".to_owned(),
            verdicts => format!("{} redriven and removed ({verdicts})", self.removed),
        }];
        for (count, what) in [
            (self.refused, "still refused, kept"),
            (self.failed, "not settled, kept: redriving again is safe"),
            (self.untried, "not tried, kept"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.join("; ")
    }
}
