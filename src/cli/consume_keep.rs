//! Messages that are not understood, as dead letters beside the resources that were refused.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::consume::{Keep, Keeping, Letter, MESSAGE};
use crate::deadletter::{self, Keeper, LetterId, Payload};
use crate::delivery::{Key, Version};
use crate::settings::Plan;

const REASON: &str = "not-understood";

struct DeadLetters {
    keeper: Keeper,
    deadline: std::time::Duration,
}

/// None where no dead letters are kept.
pub(super) async fn keep(plan: &Plan) -> Result<Option<Arc<dyn Keep>>, String> {
    let resolved = plan.source.resolve().await.map_err(|error| error.to_string())?;
    let keeper = super::deadletters::keeper(plan, &resolved)?;
    let deadline = plan.settings.delivery.deadline;
    Ok(keeper.map(|keeper| Arc::new(DeadLetters { keeper, deadline }) as Arc<dyn Keep>))
}

impl Keep for DeadLetters {
    fn keep(&self, message: Letter) -> Keeping<'_> {
        Box::pin(async move {
            let Letter { topic, partition, offset, value, why } = message;
            let key = key(&topic, partition, offset)?;
            let letter = deadletter::Letter {
                id: LetterId::of(&key, false, &Version::default()),
                key,
                interaction: "message".into(),
                version_id: None,
                last_updated: None,
                reason: REASON.into(),
                issues: Vec::new(),
                healthlake_status: None,
                healthlake_request_id: None,
                delivery: Some(format!("{partition}/{offset}: {why}").into()),
                attempts: 0,
                first: Timestamp::UNIX_EPOCH,
                last: Timestamp::UNIX_EPOCH,
                media: Some("application/json".into()),
                bytes: value.len(),
            };
            let by = Instant::now() + self.deadline;
            let kept = self.keeper.keep(letter, Payload(value), by).await;
            kept.map(|_| ()).map_err(|error| error.to_string())
        })
    }
}

/// Of the message's place: kept twice it is kept once. A topic's name may be longer than an id.
fn key(topic: &str, partition: i32, offset: i64) -> Result<Key, String> {
    let topic = hex::encode(&Sha256::digest(topic)[..4]);
    Key::new(MESSAGE, &format!("{topic}-{partition}-{offset}")).map_err(|error| error.to_string())
}
