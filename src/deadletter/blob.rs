//! A letter and its payload as one run of bytes: a line that says what it is, a line of lengths, the letter as JSON,
//! the payload. Sealed, the last two can't be read without the key; the letter can be read without the payload.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::{Letter, LetterId, Payload, SealKeys, StoreError, Stored};

const MAGIC: &[u8] = b"lakehook dead letter 1\n";

/// A letter's lines and its metadata are within this (bytes), so that they can be read without the payload.
pub const HEAD: usize = 128 << 10;
/// More of a diagnostics text than this is not kept (characters).
const DIAGNOSTICS: usize = 1_000;
const MOST_ISSUES: usize = 50;
/// More than `--max-body` can be: what claims to be larger is not unpacked (bytes).
const LARGEST: usize = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Lengths {
    letter: usize,
    payload: usize,
    /// Of the payload
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gzip: bool,
    /// Name of the key that sealed both
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// How letters are written and read.
#[derive(Clone, Default)]
pub struct Blobs {
    pub keys: Option<SealKeys>,
    pub gzip: bool,
}

impl Blobs {
    pub fn write(&self, letter: &Letter, payload: &Payload) -> Result<Vec<u8>, StoreError> {
        let failed = |what: &str| StoreError::Failed(format!("the letter could not be {what}"));
        let letter = bounded(letter);
        let mut head = serde_json::to_vec(&letter).map_err(|_| failed("written"))?;
        let mut body = payload.0.to_vec();
        if self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            body =
                encoder.write_all(&body).and_then(|()| encoder.finish()).map_err(|_| failed("compressed"))?;
        }
        let mut key = None;
        if let Some(keys) = &self.keys {
            let id = &letter.id;
            let sealed = keys.seal(&head, &what(id, "letter")).zip(keys.seal(&body, &what(id, "payload")));
            let ((name, sealed_head), (_, sealed_body)) = sealed.ok_or_else(|| failed("encrypted"))?;
            (key, head, body) = (Some(name), sealed_head, sealed_body);
        }
        let lengths = Lengths { letter: head.len(), payload: body.len(), gzip: self.gzip, key };
        let mut blob = MAGIC.to_vec();
        serde_json::to_writer(&mut blob, &lengths).map_err(|_| failed("written"))?;
        blob.push(b'\n');
        blob.append(&mut head);
        blob.append(&mut body);
        Ok(blob)
    }

    /// `blob` need not be whole.
    pub fn letter(&self, id: &LetterId, blob: &[u8]) -> Result<Letter, StoreError> {
        let (lengths, rest) = lengths(id, blob)?;
        let head = rest.get(..lengths.letter).ok_or_else(|| damaged(id, "it ends early"))?;
        let head = self.opened(id, &lengths, head, "letter")?;
        let letter: Letter =
            serde_json::from_slice(&head).map_err(|_| damaged(id, "another version of lakehook wrote it"))?;
        if letter.id != *id {
            return Err(damaged(id, "it is another letter than its name says"));
        }
        Ok(letter)
    }

    pub fn read(&self, id: &LetterId, blob: &[u8]) -> Result<Stored, StoreError> {
        let letter = self.letter(id, blob)?;
        let (lengths, rest) = lengths(id, blob)?;
        let body = &rest[lengths.letter..];
        if body.len() != lengths.payload {
            return Err(damaged(id, "it ends early"));
        }
        let mut body = self.opened(id, &lengths, body, "payload")?;
        if lengths.gzip {
            let mut plain = Vec::new();
            let within = (letter.bytes.min(LARGEST) + 1) as u64;
            let read = GzDecoder::new(&body[..]).take(within).read_to_end(&mut plain);
            read.map_err(|_| damaged(id, "its payload does not unpack"))?;
            body = plain;
        }
        if body.len() != letter.bytes {
            return Err(damaged(id, "its payload has another length than the letter says"));
        }
        Ok(Stored { letter, payload: Payload(body.into()) })
    }

    fn opened(
        &self,
        id: &LetterId,
        lengths: &Lengths,
        bytes: &[u8],
        part: &str,
    ) -> Result<Vec<u8>, StoreError> {
        let Some(name) = &lengths.key else { return Ok(bytes.to_vec()) };
        let sealed = |have| StoreError::Sealed { letter: id.to_string(), key: name.clone(), have };
        let keys = self.keys.as_ref().ok_or_else(|| sealed("no setting gives"))?;
        if !keys.holds(name) {
            return Err(sealed("is not in the key file"));
        }
        keys.open(name, bytes, &what(id, part))
            .ok_or_else(|| damaged(id, "it was changed since it was encrypted"))
    }
}

/// What a sealed part is: it does not open as another one.
fn what(id: &LetterId, part: &str) -> String {
    format!("lakehook dead letter 1 {id} {part}")
}

/// HealthLake names hundreds of issues, and its texts may be long.
fn bounded(letter: &Letter) -> Letter {
    let mut letter = letter.clone();
    letter.issues.truncate(MOST_ISSUES);
    for issue in &mut letter.issues {
        for text in [Some(&mut issue.diagnostics), Some(&mut issue.code), issue.expression.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Some((at, _)) = text.char_indices().nth(DIAGNOSTICS) {
                text.truncate(at);
                text.push('…');
            }
        }
    }
    // Characters may be of several bytes.
    while letter.issues.len() > 1 && serde_json::to_vec(&letter).map_or(0, |json| json.len()) > HEAD - 4096 {
        letter.issues.pop();
    }
    letter
}

fn lengths<'a>(id: &LetterId, blob: &'a [u8]) -> Result<(Lengths, &'a [u8]), StoreError> {
    let rest = blob.strip_prefix(MAGIC).ok_or_else(|| damaged(id, "it is no dead letter of lakehook"))?;
    let end = rest.iter().take(1024).position(|b| *b == b'\n').ok_or_else(|| damaged(id, "it ends early"))?;
    let lengths = serde_json::from_slice(&rest[..end])
        .map_err(|_| damaged(id, "another version of lakehook wrote it"))?;
    Ok((lengths, &rest[end + 1..]))
}

fn damaged(id: &LetterId, problem: &'static str) -> StoreError {
    StoreError::Damaged { letter: id.to_string(), problem }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::seal::tests::keys;
    use super::super::store_tests::{MARK, letter};
    use super::*;

    fn all() -> [Blobs; 4] {
        [false, true]
            .map(|gzip| [None, Some(keys(&[[7; 32]]))].map(|keys| Blobs { keys, gzip }))
            .as_flattened()
            .to_vec()
            .try_into()
            .ok()
            .unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for blobs in all() {
            for payload in ["", "{}", &"x".repeat(100_000)] {
                let (letter, payload) = letter("Patient/p1", 1, payload);
                let blob = blobs.write(&letter, &payload).unwrap();
                assert_eq!(
                    blobs.read(&letter.id, &blob).unwrap(),
                    Stored { letter: letter.clone(), payload }
                );
                assert_eq!(blobs.letter(&letter.id, &blob[..blob.len().min(HEAD)]).unwrap(), letter);
            }
        }
    }

    #[test]
    fn without_the_key_nothing_can_be_read() {
        let (letter, payload) = letter("Patient/p1", 1, MARK);
        let sealed = Blobs { keys: Some(keys(&[[7; 32]])), gzip: false };
        let blob = sealed.write(&letter, &payload).unwrap();
        assert!(!String::from_utf8_lossy(&blob).contains(MARK), "neither payload nor issues");
        let error = Blobs::default().read(&letter.id, &blob).unwrap_err().to_string();
        assert!(error.contains("no setting gives") && error.contains("--dead-letters-key-file"), "{error}");
        let other = Blobs { keys: Some(keys(&[[8; 32]])), gzip: false };
        let error = other.letter(&letter.id, &blob).unwrap_err().to_string();
        assert!(error.contains("is not in the key file"), "{error}");
    }

    #[test]
    fn a_damaged_letter_is_told_and_never_half_read() {
        for blobs in all() {
            let (letter, payload) = letter("Patient/p1", 1, MARK);
            let blob = blobs.write(&letter, &payload).unwrap();
            for end in 0..blob.len() {
                assert!(blobs.read(&letter.id, &blob[..end]).is_err(), "cut at {end}");
            }
            let other = LetterId::parse("0123456789abcdef").unwrap();
            assert!(blobs.read(&other, &blob).is_err(), "under another name");
        }
    }

    #[test]
    fn a_long_story_is_cut() {
        let (mut letter, payload) = letter("Patient/p1", 1, "{}");
        letter.issues[0].diagnostics = "ä".repeat(500_000);
        letter.issues = vec![letter.issues[0].clone(); 400];
        let blobs = Blobs { keys: Some(keys(&[[7; 32]])), gzip: false };
        let blob = blobs.write(&letter, &payload).unwrap();
        assert!(blob.len() < HEAD);
        assert!(blobs.read(&letter.id, &blob).unwrap().letter.issues.len() > 10);
    }
}
