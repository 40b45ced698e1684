//! Dead letters as messages of a queue. A queue has no order and no keys: what is told of it is hidden from other
//! readers until `close`, or until its visibility timeout ends; a letter may be there twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, QueueAttributeName,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::aws::{client_bounds, failed};
use super::blob::Blobs;
use super::{Answer, Checked, DeadLetters, Letter, LetterId, Name, Payload, StoreError, Stored, Usage};
use crate::delivery::Key;

/// A message, its attributes included (bytes).
const LARGEST: usize = (1 << 20) - 4096;
/// What is told stays hidden this long (seconds): a redrive of many letters has to end in it.
const HIDDEN: i32 = 15 * 60;
/// No more than this is told at once: SQS hides 120,000 at the most, and the bodies are held in memory.
const MOST: usize = 50_000;
const MOST_BYTES: usize = 256 << 20;
const BATCH: i32 = 10;
/// For a long poll to have asked all of SQS's servers (seconds)
const WAIT: i32 = 1;

pub struct Sqs {
    client: Client,
    url: String,
    blobs: Blobs,
    held: Mutex<HashMap<LetterId, Held>>,
    /// Messages that are no letters of ours, hidden with the rest
    strangers: Mutex<Vec<String>>,
}

/// A letter that is hidden from others.
struct Held {
    name: Name,
    blob: Vec<u8>,
    /// Of each message that holds it
    receipts: Vec<String>,
}

pub fn client(config: &SdkConfig, endpoint: Option<&str>) -> Client {
    let (timeouts, retries) = client_bounds();
    let mut builder =
        aws_sdk_sqs::config::Builder::from(config).timeout_config(timeouts).retry_config(retries);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}

impl Sqs {
    /// What a message can hold is compressed.
    pub fn new(client: Client, url: String, blobs: Blobs) -> Self {
        Self {
            client,
            url,
            blobs: Blobs { gzip: true, ..blobs },
            held: Mutex::default(),
            strangers: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<LetterId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob(&self, id: &LetterId) -> Option<Vec<u8>> {
        self.held().get(id).map(|held| held.blob.clone())
    }

    async fn receive(&self) -> Result<Vec<Message>, StoreError> {
        let receive = self.client.receive_message().queue_url(&self.url);
        let answer = receive
            .max_number_of_messages(BATCH)
            .visibility_timeout(HIDDEN)
            .wait_time_seconds(WAIT)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| failed("SQS ReceiveMessage", &error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// None where it is no letter of ours; it stays in the queue.
    fn take(&self, message: Message) -> Option<usize> {
        let receipt = message.receipt_handle.clone();
        let taken = self.letter_of(message);
        if taken.is_none() {
            self.strangers.lock().unwrap_or_else(PoisonError::into_inner).extend(receipt);
        }
        taken
    }

    fn letter_of(&self, message: Message) -> Option<usize> {
        let attributes = message.message_attributes.unwrap_or_default();
        let text = |name: &str| attributes.get(name).and_then(MessageAttributeValue::string_value);
        let key = Key::parse(text("key")?).ok()?;
        let id = LetterId::parse(text("letter")?)?;
        let at = text("at")?.parse::<jiff::Timestamp>().ok()?;
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.as_millisecond()).ok()?);
        let blob = STANDARD.decode(message.body?).ok()?;
        let receipt = message.receipt_handle?;
        let bytes = blob.len();
        let mut all = self.held();
        let held = all.entry(id.clone()).or_insert_with(|| Held {
            name: Name { key, id, bytes: bytes as u64, at },
            blob: blob.clone(),
            receipts: Vec::new(),
        });
        if at >= held.name.at {
            (held.name.at, held.name.bytes, held.blob) = (at, bytes as u64, blob);
        }
        held.receipts.push(receipt);
        Some(bytes)
    }

    async fn attributes(&self) -> Result<HashMap<QueueAttributeName, String>, StoreError> {
        let get = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = get.attribute_names(QueueAttributeName::All).send().await;
        let answer = answer.map_err(|error| failed("SQS GetQueueAttributes", &error))?;
        Ok(answer.attributes.unwrap_or_default())
    }
}

fn attribute(text: impl Into<String>) -> MessageAttributeValue {
    let built = MessageAttributeValue::builder().data_type("String").string_value(text).build();
    built.expect("the type is set")
}

impl DeadLetters for Sqs {
    fn keep<'a>(&'a self, letter: &'a Letter, payload: Payload) -> Answer<'a, ()> {
        Box::pin(async move {
            let body = STANDARD.encode(self.blobs.write(letter, &payload)?);
            if body.len() > LARGEST {
                return Err(StoreError::TooLarge { bytes: body.len(), limit: LARGEST });
            }
            let mut send = self
                .client
                .send_message()
                .queue_url(&self.url)
                .message_body(body)
                .message_attributes("letter", attribute(letter.id.as_str()))
                .message_attributes("key", attribute(letter.key.to_string()))
                .message_attributes("reason", attribute(&*letter.reason))
                .message_attributes("at", attribute(letter.last.to_string()));
            if self.url.ends_with(".fifo") {
                // A repetition within SQS's five minutes is one message.
                send = send.message_group_id(letter.id.as_str()).message_deduplication_id(format!(
                    "{}-{}",
                    letter.id,
                    letter.last.as_millisecond()
                ));
            }
            send.send().await.map_err(|error| failed("SQS SendMessage", &error))?;
            Ok(())
        })
    }

    fn names(&self) -> Answer<'_, Vec<Name>> {
        Box::pin(async {
            let (mut messages, mut bytes) = (0, 0);
            while messages < MOST && bytes < MOST_BYTES {
                let batch = self.receive().await?;
                if batch.is_empty() {
                    break;
                }
                messages += batch.len();
                bytes += batch.into_iter().filter_map(|message| self.take(message)).sum::<usize>();
            }
            Ok(self.held().values().map(|held| held.name.clone()).collect())
        })
    }

    fn names_of<'a>(&'a self, _: &'a Key) -> Answer<'a, Vec<Name>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn letter<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Letter>> {
        Box::pin(async {
            let blob = self.blob(&name.id);
            blob.map(|blob| self.blobs.letter(&name.id, &blob)).transpose()
        })
    }

    fn read<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Stored>> {
        Box::pin(async {
            let blob = self.blob(&name.id);
            blob.map(|blob| self.blobs.read(&name.id, &blob)).transpose()
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Answer<'a, bool> {
        Box::pin(async {
            let receipts = match self.held().get(&name.id) {
                Some(held) => held.receipts.clone(),
                None => return Ok(false),
            };
            for receipt in receipts {
                let delete = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt);
                delete.send().await.map_err(|error| failed("SQS DeleteMessage", &error))?;
            }
            self.held().remove(&name.id);
            Ok(true)
        })
    }

    /// About: SQS counts so.
    fn usage(&self) -> Answer<'_, Usage> {
        Box::pin(async {
            let attributes = self.attributes().await?;
            let count = |name: QueueAttributeName| {
                attributes.get(&name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
            };
            let letters = count(QueueAttributeName::ApproximateNumberOfMessages)
                + count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
            Ok(Usage { letters, bytes: None })
        })
    }

    fn replaces(&self) -> bool {
        false
    }

    fn expires_by_itself(&self) -> bool {
        true
    }

    fn check(&self) -> Answer<'_, Checked> {
        Box::pin(async {
            let usage = self.usage().await?;
            let attributes = self.attributes().await?;
            let of = |name: QueueAttributeName| attributes.get(&name).map(String::as_str);
            let kms_key = of(QueueAttributeName::KmsMasterKeyId);
            let sealed = kms_key.is_some() || of(QueueAttributeName::SqsManagedSseEnabled) == Some("true");
            let encrypted = match kms_key {
                Some(key) => format!("encrypted with KMS key {key}"),
                None if sealed => "encrypted with SQS's own key".to_owned(),
                None => "not encrypted".to_owned(),
            };
            let retention = of(QueueAttributeName::MessageRetentionPeriod);
            let days = match retention.and_then(|text| text.parse::<u64>().ok()) {
                Some(seconds) => format!(", kept for {} days", seconds / 86_400),
                None => String::new(),
            };
            let advice = if !sealed {
                Some("switch on server-side encryption at the queue: letters hold patients' data")
            } else if of(QueueAttributeName::RedrivePolicy).is_some() {
                Some(
                    "remove the queue's redrive policy: it moves letters away once they were listed a few times",
                )
            } else {
                None
            };
            let found = format!("{}: about {} letters, {encrypted}{days}", self.place(), usage.letters);
            Ok(Checked { found, advice })
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let mut receipts: Vec<String> = self.held().drain().flat_map(|(_, held)| held.receipts).collect();
            receipts.append(&mut self.strangers.lock().unwrap_or_else(PoisonError::into_inner));
            for batch in receipts.chunks(BATCH as usize) {
                let entries = batch.iter().enumerate().map(|(n, receipt)| {
                    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
                    entry
                        .receipt_handle(receipt)
                        .visibility_timeout(0)
                        .build()
                        .expect("id and receipt are set")
                });
                let change = self.client.change_message_visibility_batch().queue_url(&self.url);
                let change = change.set_entries(Some(entries.collect()));
                change.send().await.map_err(|error| failed("SQS ChangeMessageVisibility", &error))?;
            }
            Ok(())
        })
    }

    fn kind(&self) -> &'static str {
        "sqs"
    }

    fn place(&self) -> String {
        self.url.clone()
    }
}
