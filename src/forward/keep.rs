//! What is refused for good is kept as a dead letter before anybody is told, and let go of once the resource is
//! mirrored after all.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Content, Forward, Letter, Report};
use crate::deadletter::{self, LetterId, Payload};
use crate::delivery::{Addressed, Delivery, Key, Unreadable, Version};
use crate::mirror::Source;
use crate::trace;
use crate::verdict::Verdict;

/// For a letter where the refusal comes just before the deadline: HAPI hangs up two seconds after it.
const AT_LEAST: Duration = Duration::from_secs(1);

impl Forward {
    /// What could not be made a `Delivery`.
    pub async fn refuse(&self, unreadable: Unreadable, deadline: Instant, id: &str) -> Report {
        let Unreadable { key, refused, xml, bytes } = unreadable;
        let addressed = Addressed::to(&key);
        let delivery = Delivery::Upsert { addressed, json: bytes.clone(), verbatim: true };
        if self.filter.by_type(key.resource_type()).is_some() {
            // What it says does not matter.
            return self.deliver(delivery, Source::Live, deadline, Some(id)).await;
        }
        let mut report = Report::of(&delivery, Source::Live);
        report.verdict = refused;
        report.content = Content { xml, payload: Payload(bytes), ..Content::default() };
        let report = self.keep(report, deadline, Some(id)).await;
        trace::told(&report);
        report
    }

    pub(super) async fn keep(&self, mut report: Report, deadline: Instant, id: Option<&str>) -> Report {
        let Some(keeper) = &self.dead_letters else { return report };
        if let (Verdict::Mirrored(_), Some(key), false) =
            (&report.verdict, &report.key, report.content.deleted)
        {
            keeper.mirrored(key, &report.content.version);
        }
        if let (Verdict::Filtered { .. }, Some(key)) = (&report.verdict, &report.key) {
            // Nor may an older version come back from its letter.
            keeper.mirrored(key, &report.version);
        }
        if !report.verdict.is_refused_content() {
            return report;
        }
        let told = told(&report.content.payload.0);
        // A resource that nothing names can't be sent again: it stays with its sender.
        let Some(key) = report.key.clone().or_else(|| told.key()) else { return report };
        if report.content.version == Version::default() && !report.content.xml {
            report.content.version = told.version();
        }
        let letter = letter(&key, &report, id);
        let (payload, by) = (report.content.payload.clone(), deadline.max(Instant::now() + AT_LEAST));
        let kept = keeper.keep(letter, payload, by).instrument(trace::step("keep dead letter")).await;
        match kept {
            Ok(kept) => {
                let refused = std::mem::replace(&mut report.verdict, Verdict::Internal);
                report.verdict = Verdict::DeadLettered { refused: Box::new(refused), letter: kept.id };
                report.letter = Letter::Kept;
            }
            Err(error) => {
                let store = keeper.store().kind();
                tracing::error!(%key, delivery = id, store, %error, "a dead letter could not be kept: the CDR gets the refusal");
                report.letter = Letter::Failed;
            }
        }
        report.key = Some(key);
        report
    }
}

fn letter(key: &Key, report: &Report, delivery: Option<&str>) -> deadletter::Letter {
    let Content { deleted, xml, version, payload } = &report.content;
    let said = report.said.as_ref();
    let media = match (deleted, xml) {
        (true, _) => None,
        (false, true) => Some("application/fhir+xml"),
        (false, false) => Some("application/fhir+json"),
    };
    deadletter::Letter {
        id: LetterId::of(key, *deleted, version),
        key: key.clone(),
        interaction: if *deleted { "delete" } else { "upsert" }.into(),
        version_id: version.version_id.clone(),
        last_updated: version.last_updated.clone(),
        reason: report.verdict.name().into(),
        issues: report.verdict.issues().to_vec(),
        healthlake_status: said.map(|said| said.status.as_u16()),
        healthlake_request_id: said.and_then(|said| said.request_id.as_deref()).map(Into::into),
        delivery: delivery.map(Into::into),
        attempts: 0,
        first: Timestamp::UNIX_EPOCH,
        last: Timestamp::UNIX_EPOCH,
        media: media.map(Into::into),
        bytes: payload.0.len(),
    }
}

/// What a refused body says of itself, as far as it can be read: what is wrong elsewhere leaves this right.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default)]
    resource_type: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    meta: Value,
}

fn told(json: &Bytes) -> Told {
    serde_json::from_slice(json).unwrap_or_default()
}

impl Told {
    fn key(&self) -> Option<Key> {
        Key::new(self.resource_type.as_str()?, self.id.as_str()?).ok()
    }

    /// What is no id and no instant is left out.
    fn version(&self) -> Version {
        Version::new(self.meta["versionId"].as_str(), self.meta["lastUpdated"].as_str())
    }
}
