//! A record in few bytes, for the stores that keep many: a usual one takes about 25. Numbers are LEB128;
//! version ids and instants are numbers wherever they come back letter by letter, text elsewhere.

mod updated;

use super::record::{Etag, Millis, Pending, Record, Seen, Tombstone, Write};
use crate::delivery::Version;

const FORWARDED: u8 = 1;
const DELETED: u8 = 1 << 1;
const ETAG: u8 = 1 << 2;
const PENDING: u8 = 1 << 3;
/// Versions have been seen, and they are told in full
const SEEN: u8 = 1 << 4;
/// The newest version seen is the one forwarded, and there is no gap in the last n: only n is told
const SEEN_WHOLE: u8 = 1 << 5;

const ID_NUMBER: u8 = 1;
const ID_TEXT: u8 = 1 << 1;
const UPDATED_INSTANT: u8 = 1 << 2;
const UPDATED_TEXT: u8 = 1 << 3;

/// How much it would cost to forget a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Little: a live resource, or one deleted so long ago that no late delivery of it is to be expected.
    Idle,
    /// A late delivery may still bring it back, or what was sent may have landed.
    Useful,
    /// Something that was sent can still land.
    Needed,
}

/// No sender's retries are seen to go on for longer.
const TOMBSTONE_COUNTS: Millis = 60 * 60 * 1000;

pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let Record { forwarded, seen, deleted, etag, pending } = record;
    let (newest, bits) = seen.parts();
    let run = bits.trailing_ones();
    let whole = newest != 0
        && forwarded.as_ref().and_then(number) == Some(newest)
        && bits.checked_shr(run).unwrap_or_default() == 0;
    let mut flags = 0;
    for (flag, on) in [
        (FORWARDED, forwarded.is_some()),
        (DELETED, deleted.is_some()),
        (ETAG, etag.is_some()),
        (PENDING, !pending.is_empty()),
        (SEEN, !whole && *seen != Seen::default()),
        (SEEN_WHOLE, whole),
    ] {
        flags |= if on { flag } else { 0 };
    }
    out.push(flags);
    if let Some(version) = forwarded {
        put_version(version, out);
    }
    if whole {
        out.push(run as u8);
    } else if flags & SEEN != 0 {
        put(newest, out);
        out.extend_from_slice(&bits.to_le_bytes());
    }
    if let Some(Tombstone { at }) = deleted {
        put(*at, out);
    }
    if let Some(Etag(etag)) = etag {
        put(*etag, out);
    }
    if !pending.is_empty() {
        put(pending.len() as u64, out);
    }
    for Pending { write, if_match, until } in pending {
        put_write(write, out);
        // Shifted by one, so that zero is none; HealthLake counts, it does not reach the end of u64.
        put(if_match.map_or(0, |etag| etag.0.saturating_add(1)), out);
        put(*until, out);
    }
}

/// None where these are no bytes of `encode`.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let mut rest = bytes;
    let [flags] = *take(&mut rest, 1)? else { return None };
    let has = |flag| flags & flag != 0;
    let mut record = Record::default();
    if has(FORWARDED) {
        record.forwarded = Some(take_version(&mut rest)?);
    }
    if has(SEEN_WHOLE) {
        let [run @ 1..=64] = *take(&mut rest, 1)? else { return None };
        record.seen = Seen::from_parts(number(record.forwarded.as_ref()?)?, u64::MAX >> (64 - run));
    } else if has(SEEN) {
        let newest = take_number(&mut rest)?;
        record.seen = Seen::from_parts(newest, u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?));
    }
    if has(DELETED) {
        record.deleted = Some(Tombstone { at: take_number(&mut rest)? });
    }
    if has(ETAG) {
        record.etag = Some(Etag(take_number(&mut rest)?));
    }
    if has(PENDING) {
        for _ in 0..take_number(&mut rest)? {
            let write = take_write(&mut rest)?;
            let if_match = take_number(&mut rest)?.checked_sub(1).map(Etag);
            record.pending.push(Pending { write, if_match, until: take_number(&mut rest)? });
        }
    }
    rest.is_empty().then_some(record)
}

pub(super) fn standing(bytes: &[u8], now: Millis) -> Standing {
    if bytes.first().is_some_and(|flags| flags & (DELETED | PENDING) == 0) {
        return Standing::Idle;
    }
    let record = decode(bytes).unwrap_or_default();
    if record.pending.iter().any(|pending| pending.until > now) {
        Standing::Needed
    } else if record.pending.is_empty()
        && record.deleted.is_none_or(|deleted| deleted.at.saturating_add(TOMBSTONE_COUNTS) < now)
    {
        Standing::Idle
    } else {
        Standing::Useful
    }
}

fn put_write(write: &Write, out: &mut Vec<u8>) {
    match write {
        Write::Upsert(version) => {
            out.push(0);
            put_version(version, out);
        }
        Write::Delete => out.push(1),
        Write::Current => out.push(2),
    }
}

fn take_write(rest: &mut &[u8]) -> Option<Write> {
    match take(rest, 1)? {
        [0] => Some(Write::Upsert(take_version(rest)?)),
        [1] => Some(Write::Delete),
        [2] => Some(Write::Current),
        _ => None,
    }
}

/// A version id that is a number and is written as numbers are.
fn number(version: &Version) -> Option<u64> {
    let id = version.version_id.as_deref()?;
    let plain = id.bytes().all(|b| b.is_ascii_digit()) && (id == "0" || !id.starts_with('0'));
    plain.then(|| id.parse().ok()).flatten()
}

fn put_version(version: &Version, out: &mut Vec<u8>) {
    let Version { version_id, last_updated } = version;
    let (id, instant) = (number(version), last_updated.as_deref().and_then(updated::encode));
    let mut flags = match (id, version_id) {
        (Some(_), _) => ID_NUMBER,
        (None, Some(_)) => ID_TEXT,
        (None, None) => 0,
    };
    flags |= match (instant, last_updated) {
        (Some(_), _) => UPDATED_INSTANT,
        (None, Some(_)) => UPDATED_TEXT,
        (None, None) => 0,
    };
    out.push(flags);
    match (id, version_id) {
        (Some(id), _) => put(id, out),
        (None, Some(text)) => put_text(text, out),
        (None, None) => {}
    }
    match (instant, last_updated) {
        (Some(instant), _) => instant.put(out),
        (None, Some(text)) => put_text(text, out),
        (None, None) => {}
    }
}

fn take_version(rest: &mut &[u8]) -> Option<Version> {
    let [flags] = *take(rest, 1)? else { return None };
    let version_id = match flags & (ID_NUMBER | ID_TEXT) {
        0 => None,
        ID_NUMBER => Some(take_number(rest)?.to_string().into()),
        _ => Some(take_text(rest)?),
    };
    let last_updated = match flags & (UPDATED_INSTANT | UPDATED_TEXT) {
        0 => None,
        UPDATED_INSTANT => Some(updated::Updated::take(rest)?.text()?.into()),
        _ => Some(take_text(rest)?),
    };
    Some(Version { version_id, last_updated })
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn take_text(rest: &mut &[u8]) -> Option<Box<str>> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    std::str::from_utf8(take(rest, length)?).ok().map(Into::into)
}

pub(super) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(rest, 1)? else { return None };
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests;
