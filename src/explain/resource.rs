//! One resource: what became of its deliveries, what is remembered, what the CDR and HealthLake have now, and what
//! follows from that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{LetterLine, code, letters_of};
use crate::cdr::Current;
use crate::delivery::{Key, Version};
use crate::forward::{Forward, Remembered};
use crate::operate::Line;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    pub key: String,
    /// The newest first; of this instance, since its start
    pub deliveries: Vec<Line>,
    pub order: Order,
    /// None: no `--cdr-url`
    pub cdr: Option<Side>,
    pub healthlake: Side,
    /// The filter's rule that keeps out what the CDR has now
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_rule: Option<String>,
    /// Refused for good and kept
    #[serde(default)]
    pub letters: Vec<LetterLine>,
    pub advice: Vec<String>,
}

/// What one server has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Side {
    There { version: Option<String>, last_updated: Option<String> },
    Gone,
    Unknown { why: String },
}

/// What the order memory says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The newest version that was forwarded
    pub forwarded: Option<Version>,
    /// When a delete was forwarded that was the last write
    pub deleted: Option<Timestamp>,
    /// That version is kept out by the filter, and HealthLake has nothing of it.
    #[serde(default)]
    pub filtered: bool,
    /// HealthLake's version after it
    pub healthlake_version: Option<u64>,
    /// Writes whose outcome is not known
    pub pending: usize,
    /// Why it can't be told
    pub unknown: Option<String>,
}

impl Side {
    /// For people
    pub fn told(&self) -> String {
        match self {
            Self::There { version, last_updated } => {
                let version =
                    version.as_deref().map(|version| format!(", version {version}")).unwrap_or_default();
                let at = last_updated.as_deref().map(|at| format!(", {at}")).unwrap_or_default();
                format!("has it{version}{at}")
            }
            Self::Gone => "does not have it, or not any more".into(),
            Self::Unknown { why } => format!("not known: {why}"),
        }
    }
}

impl Order {
    /// For people
    pub fn told(&self) -> String {
        if let Some(why) = &self.unknown {
            return format!("not known: {why}");
        }
        let mut parts = Vec::new();
        if let Some(forwarded) = &self.forwarded {
            let id = forwarded.version_id.as_deref().or(forwarded.last_updated.as_deref());
            let what = if self.filtered { "kept out" } else { "forwarded" };
            parts.push(format!("{what} version {}", id.unwrap_or("unknown")));
        }
        if let Some(at) = self.deleted {
            parts.push(format!("deleted, the delete came {at}"));
        }
        if let Some(version) = self.healthlake_version {
            parts.push(format!("HealthLake's version {version} after that"));
        }
        if self.pending > 0 {
            parts.push(format!("{} writes whose outcome is not known", self.pending));
        }
        if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
    }

    fn nothing(&self) -> bool {
        self.unknown.is_none() && self.forwarded.is_none() && self.deleted.is_none() && self.pending == 0
    }
}

/// Asks the order memory, the CDR and HealthLake; changes nothing.
pub async fn explain(forward: &Forward, key: &Key, deliveries: Vec<Line>, deadline: Instant) -> Explained {
    let (order, (cdr, rule), healthlake, letters) = tokio::join!(
        async { order(forward.remembered(key, deadline).await) },
        async {
            let Some(cdr) = &forward.cdr else { return (None, forward.filter.by_type(key.resource_type())) };
            let read = cdr.read(key, deadline).await;
            let rule = match &read {
                Ok(Current::Resource(json)) => forward.filter.keeps_out(json),
                _ => forward.filter.by_type(key.resource_type()),
            };
            (Some(at_cdr(read)), rule)
        },
        at_healthlake(forward, key, deadline),
        async {
            match &forward.dead_letters {
                // A store that fails is told by health and by the log.
                Some(keeper) => letters_of(keeper, key).await.unwrap_or_default(),
                None => Vec::new(),
            }
        },
    );
    let mut explained = Explained {
        key: key.to_string(),
        deliveries,
        order,
        cdr,
        healthlake,
        filter_rule: rule.map(|rule| rule.name().to_owned()),
        letters,
        advice: Vec::new(),
    };
    explained.advice = advice(&explained);
    explained
}

fn order(remembered: Remembered) -> Order {
    let at = |millis: u64| Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX)).ok();
    match remembered {
        Remembered::Record(record) => Order {
            deleted: record.tombstone().and_then(|tombstone| at(tombstone.at)),
            filtered: record.is_filtered(),
            forwarded: record.forwarded,
            healthlake_version: record.etag.map(|etag| etag.0),
            pending: record.pending.len(),
            unknown: None,
        },
        Remembered::Busy { .. } => {
            Order { unknown: Some("a delivery of it is under way".into()), ..Order::default() }
        }
        Remembered::Unknown(why) => Order { unknown: Some(why), ..Order::default() },
    }
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    version_id: Option<String>,
    last_updated: Option<String>,
}

fn at_cdr(read: Result<Current, crate::cdr::CdrError>) -> Side {
    match read {
        Ok(Current::Gone) => Side::Gone,
        Ok(Current::Resource(json)) => {
            let meta = serde_json::from_slice::<Resource>(&json).map(|resource| resource.meta);
            let meta = meta.unwrap_or_default();
            // What is no id or no instant is not shown: it could be anything.
            let version = Version::new(meta.version_id.as_deref(), meta.last_updated.as_deref());
            Side::There {
                version: version.version_id.map(String::from),
                last_updated: version.last_updated.map(String::from),
            }
        }
        Err(error) => Side::Unknown { why: error.to_string() },
    }
}

async fn at_healthlake(forward: &Forward, key: &Key, deadline: Instant) -> Side {
    let (attempted, found) = forward.healthlake.read(key, deadline).await;
    match (found, attempted.result) {
        (Some(Some(etag)), _) => Side::There { version: Some(etag.0.to_string()), last_updated: None },
        (Some(None), _) => Side::Gone,
        (None, Ok(said)) => Side::Unknown { why: format!("HealthLake answered {}", said.status.as_u16()) },
        (None, Err(could_not)) => Side::Unknown { why: could_not.to_string() },
    }
}

/// What follows, most important first.
fn advice(explained: &Explained) -> Vec<String> {
    let Explained { key, deliveries, order, cdr, healthlake, filter_rule, letters, .. } = explained;
    let mut advice = Vec::new();
    if let Some(letter) = letters.first() {
        advice.push(format!(
            "it was refused for good ({}) and is kept: `lakehook dead-letters show {}` says why; correct it in the CDR, or redrive it",
            letter.reason, letter.id
        ));
    }
    let last = deliveries.first();
    let resend = format!("`lakehook resend {key}` sends what the CDR has now");
    if let Some(rule) = filter_rule {
        advice.push(match healthlake {
            Side::There { .. } => format!(
                "the filter keeps it out (--filter-{rule}), and HealthLake has it. {resend}: the filter deletes it there"
            ),
            _ => format!("the filter keeps it out (--filter-{rule}): it is not mirrored"),
        });
    }
    match (cdr, healthlake) {
        _ if filter_rule.is_some() => {}
        (Some(Side::There { .. }), Side::Gone) => match last.map(|line| line.verdict.as_str()) {
            Some("not-mirrored") => advice
                .push("the CDR has it and HealthLake does not: HealthLake does not support this type".into()),
            Some(verdict) => advice.push(format!(
                "the CDR has it and HealthLake does not; its last delivery ended as {verdict}. {resend}"
            )),
            None if order.nothing() => advice.push(format!(
                "the CDR has it, HealthLake does not, and no delivery of it is remembered: it was not sent, or was lost on the way. Look at the Subscription; {resend}"
            )),
            None => advice.push(format!("the CDR has it and HealthLake does not. {resend}")),
        },
        (Some(Side::Gone), Side::There { .. }) => {
            advice.push(format!("HealthLake has it and the CDR does not, or not any more. {resend}: the delete"));
        }
        (Some(Side::Gone), Side::Gone) => advice.push("neither side has it: nothing to do".into()),
        (Some(Side::There { version: Some(now), .. }), Side::There { version, .. }) => {
            let forwarded = order.forwarded.as_ref().and_then(|forwarded| forwarded.version_id.as_deref());
            let ours = order.healthlake_version.map(|version| version.to_string());
            match forwarded {
                Some(forwarded) if forwarded != now => advice.push(format!(
                    "version {forwarded} was forwarded, and the CDR is at {now}. If that lasts: {resend}"
                )),
                Some(_) if ours.is_some() && ours != *version => advice.push(format!(
                    "the newest version was forwarded, and HealthLake's own version has moved since: somebody else writes to the data store. {resend}"
                )),
                Some(_) => advice.push("the version that the CDR has was forwarded: nothing to do".into()),
                None => advice.push(format!(
                    "both sides have it; nothing is remembered that tells whether they are equal. {resend}"
                )),
            }
        }
        _ => {}
    }
    if let Some(Side::Unknown { why }) = cdr {
        advice.push(format!("the CDR can't be asked: {why}. `lakehook check` tries the same"));
    }
    if let Side::Unknown { why } = healthlake {
        advice.push(format!("HealthLake can't be asked: {why}. `lakehook check` tries the same"));
    }
    if cdr.is_none() {
        advice.push("without --cdr-url the two sides can't be compared".into());
    }
    if order.pending > 0 {
        advice.push(
            "the outcome of a write is not known yet: the next delivery of it settles that, or waits".into(),
        );
    }
    // The last verdict's own advice, where it asks for something.
    if let Some(code) = last.and_then(|line| code(&line.verdict)) {
        let what = code.what_to_do();
        if !what.starts_with("nothing") {
            advice.push(format!("{}: {}", code.name, what.replace('\n', " ").replace("  ", " ")));
        }
    }
    advice
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
