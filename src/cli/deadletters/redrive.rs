//! `lakehook dead-letters redrive`: what was refused is forwarded again, paced, and removed once it is settled. With a
//! CDR that is what the CDR has now; else what was kept, under the rules of the order.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use super::super::consume_keep::MESSAGE;
use super::super::engine::Way;
use super::super::{DIFFERENCES, FAILED, Sources, USAGE, fail, print, say};
use super::select::{Found, Selected, Which};
use crate::deadletter::{DeadLetters, Letter, Payload};
use crate::delivery::{Addressed, Delivery, Key};
use crate::mirror::{Mirror, Source, Told, patiently};
use crate::operate::Signals;
use crate::receive::{Content, Media, put};
use crate::settings::{MirrorArgs, Settings, plan};
use crate::validate::Validator;
use crate::verdict::issue_codes;

#[derive(Args, Debug)]
pub(super) struct RedriveCommand {
    #[command(flatten)]
    which: Which,
    /// Resources a second
    #[arg(long, value_name = "N", default_value = "10")]
    rate: NonZeroU32,
    /// How long to go on with what may be sent again
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::settings::duration)]
    patience: Duration,
}

/// The letters of one resource: one forward settles them all, or each is sent in its turn.
struct Resource {
    key: Key,
    letters: Vec<Selected>,
}

#[derive(Default)]
struct Summary {
    /// Letters by what became of them
    removed: usize,
    verdicts: BTreeMap<String, usize>,
    refused: usize,
    failed: usize,
    untried: usize,
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

pub(super) async fn run(
    store: &dyn DeadLetters,
    command: &RedriveCommand,
    mirror: &MirrorArgs,
    settings: Settings,
    sources: &Sources,
) -> ExitCode {
    let plan = match plan(settings) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    if found.selected.is_empty() {
        say(&format!("no dead letters to redrive in {}", store.place()));
        return found.code();
    }
    let Ok(mut signals) = Signals::new() else { return fail(FAILED, "signals can't be caught") };
    let way = match Way::open(&plan, mirror, Source::Redrive).await {
        Ok(way) => way,
        Err(text) => return fail(FAILED, &text),
    };
    let resources = by_resource(&found);
    let bar = bar(resources.len() as u64);
    let redrive = Redrive {
        store,
        mirror: &*way.mirror,
        validator: &plan.validator,
        ask_cdr: plan.cdr.is_some(),
        patience: command.patience,
    };
    let mut pace = interval(Duration::from_secs(1) / command.rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut summary = Summary::default();
    let mut resources = resources.into_iter();
    let mut stopped = false;
    for resource in resources.by_ref() {
        // What was begun ends; what was not is left as it is.
        tokio::select! {
            _ = signals.next() => stopped = true,
            _ = pace.tick() => {}
        }
        if stopped {
            summary.untried += resource.letters.len();
            break;
        }
        let ended = {
            let mut one = std::pin::pin!(redrive.one(&resource, &mut summary, &bar));
            loop {
                tokio::select! {
                    () = &mut one => break true,
                    _ = signals.next() => {
                        if stopped {
                            break false;
                        }
                        stopped = true;
                        bar.suspend(|| say("ends after this resource; a second signal ends at once"));
                    }
                }
            }
        };
        if !ended {
            summary.untried += resource.letters.len();
        }
        bar.inc(1);
        if stopped {
            break;
        }
    }
    summary.untried += resources.map(|resource| resource.letters.len()).sum::<usize>();
    bar.finish_and_clear();
    way.close().await;
    summary.tell();
    if stopped || summary.failed > 0 || found.unreadable > 0 {
        ExitCode::from(FAILED)
    } else if summary.refused > 0 {
        ExitCode::from(DIFFERENCES)
    } else {
        ExitCode::SUCCESS
    }
}

/// Those refused first at the top, in the resource too.
fn by_resource(found: &Found) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for selected in &found.selected {
        let key = &selected.name.key;
        let place = *places.entry(key.clone()).or_insert_with(|| {
            resources.push(Resource { key: key.clone(), letters: Vec::new() });
            resources.len() - 1
        });
        resources[place].letters.push(selected.clone());
    }
    resources
}

struct Redrive<'a> {
    store: &'a dyn DeadLetters,
    mirror: &'a dyn Mirror,
    validator: &'a Validator,
    ask_cdr: bool,
    patience: Duration,
}

impl Redrive<'_> {
    async fn one(&self, resource: &Resource, summary: &mut Summary, bar: &ProgressBar) {
        if resource.key.resource_type() == MESSAGE {
            return self.messages(resource, summary, bar).await;
        }
        if self.ask_cdr {
            let delivery = Delivery::Changed { key: resource.key.clone() };
            let outcome = self.forward(delivery).await;
            self.settle(resource, &resource.letters, outcome, summary, bar).await;
            return;
        }
        for selected in &resource.letters {
            let outcome = match self.stored(selected).await {
                Ok(Some(delivery)) => self.forward(delivery).await,
                // Removed meanwhile: by a newer version, or by somebody else.
                Ok(None) => continue,
                Err(outcome) => outcome,
            };
            self.settle(resource, std::slice::from_ref(selected), outcome, summary, bar).await;
        }
    }

    /// Messages of a failed channel that were not understood: this version may understand them.
    async fn messages(&self, resource: &Resource, summary: &mut Summary, bar: &ProgressBar) {
        for selected in &resource.letters {
            let stored = match self.store.read(&selected.name).await {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => {
                    let outcome = Outcome::Failed(error.to_string());
                    self.settle(resource, std::slice::from_ref(selected), outcome, summary, bar).await;
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
            self.settle(resource, std::slice::from_ref(selected), outcome, summary, bar).await;
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
            Ok(told) if told.settled && told.in_doubt && told.verdict == "superseded" => {
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
        bar: &ProgressBar,
    ) {
        let tell = |text: &str| bar.suspend(|| print(&format!("{}  {}", resource.key, text.trim_end())));
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
    fn tell(&self) {
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
        print(&parts.join("; "));
    }
}

/// On stderr, where that is a terminal.
fn bar(resources: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} resources, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(resources), ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
