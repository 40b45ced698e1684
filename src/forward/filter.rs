//! What the filter says of a delivery, before anything else is asked of it: what it keeps out is neither validated nor
//! kept as a dead letter.

use bytes::Bytes;

use super::{Forward, LARGE, Report, Valid};
use crate::deadletter::Payload;
use crate::delivery::{Addressed, Key, Version};
use crate::filter::{Judged, Rule};
use crate::mirror::Source;
use crate::order::walk::Want;
use crate::verdict::Verdict;

/// Whether HealthLake is looked at, whatever the memory says of what is kept out: where somebody asks for it. Something
/// was seen there, or an import has written there past the memory.
pub(super) fn looks(source: Source) -> bool {
    !matches!(source, Source::Live | Source::Consume)
}

impl Forward {
    /// What an upsert asks for: to be sent, or to be kept out.
    pub(super) async fn upsert(
        &self,
        addressed: Addressed,
        json: Bytes,
        verbatim: bool,
        report: &mut Report,
    ) -> Result<(Key, Want, Bytes), Verdict> {
        let unreadable = match self.judge(&addressed, &json).await? {
            Judged::Filtered { rule, key, version } => return Ok(keep_out(rule, key, version, report)),
            // Its labels stay at the CDR: as JSON it has them.
            Judged::Unlabelled { key, .. } if self.cdr.is_some() => {
                report.key = Some(key.clone());
                return Ok((key, Want::Current, Bytes::new()));
            }
            Judged::Unlabelled { rule, key } => return Ok(keep_out(rule, key, Version::default(), report)),
            Judged::Unreadable(rule) => rule,
            Judged::Passes => None,
        };
        report.content.payload = Payload(json.clone());
        let Valid { key, version, json } = self.validate(addressed, json, verbatim, report).await?;
        if let Some(rule) = unreadable.or(self.filter.by_type(key.resource_type())) {
            return Ok(keep_out(rule, key, version, report));
        }
        (report.key, report.version) = (Some(key.clone()), version.clone());
        report.content.version = version.clone();
        Ok((key, Want::Upsert(version), json))
    }

    async fn judge(&self, addressed: &Addressed, json: &Bytes) -> Result<Judged, Verdict> {
        if json.len() < LARGE || self.filter.is_empty() {
            return Ok(self.filter.judge(addressed, json));
        }
        let (filter, addressed, json) = (self.filter.clone(), addressed.clone(), json.clone());
        let judged = tokio::task::spawn_blocking(move || filter.judge(&addressed, &json)).await;
        judged.map_err(|_| Verdict::Internal)
    }
}

fn keep_out(rule: Rule, key: Key, version: Version, report: &mut Report) -> (Key, Want, Bytes) {
    (report.key, report.version) = (Some(key.clone()), version.clone());
    report.filtered = Some(rule);
    report.content.payload = Payload::default();
    let look = !rule.is_by_type() || looks(report.source);
    (key, Want::Withdraw { version, look }, Bytes::new())
}
