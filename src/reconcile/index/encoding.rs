//! How keys and versions stand in the file: types and ids in their order, times as bytes that sort as they do.

use super::{Known, Suspect};
use crate::reconcile::canonical::Digest;
use crate::reconcile::side::{At, Held, Window};

pub(super) fn key(kind: &str, id: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", id.as_bytes()].concat()
}

/// Behind all keys of the type.
pub(super) fn after_kind(kind: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\x01"].concat()
}

pub(super) fn time_key(kind: &str, at: At, id: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", &at.max(0).to_be_bytes(), id.as_bytes()].concat()
}

pub(super) fn time_bounds(kind: &str, window: Window) -> (Vec<u8>, Vec<u8>) {
    let end = window.to.map_or_else(|| after_kind(kind), |to| time_key(kind, to, ""));
    (time_key(kind, window.from.unwrap_or(0), ""), end)
}

pub(super) fn time_of(kind: &str, key: &[u8]) -> Option<At> {
    let bytes = key.get(kind.len() + 1..kind.len() + 9)?;
    Some(At::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn pack(held: &Held, seen: At, sweep: u32) -> Vec<u8> {
    let Held { version, updated, digest } = held;
    [&sweep.to_le_bytes()[..], &seen.to_le_bytes(), &updated.to_le_bytes(), &digest.0, version.as_bytes()]
        .concat()
}

pub(super) fn unpack(bytes: &[u8]) -> Option<Known> {
    let (sweep, rest) = bytes.split_first_chunk()?;
    let (seen, rest) = rest.split_first_chunk()?;
    let (updated, rest) = rest.split_first_chunk()?;
    let (digest, version) = rest.split_first_chunk()?;
    let held = Held {
        version: String::from_utf8_lossy(version).into_owned(),
        updated: At::from_le_bytes(*updated),
        digest: Digest(*digest),
    };
    Some(Known { held, seen: At::from_le_bytes(*seen), sweep: u32::from_le_bytes(*sweep) })
}

pub(super) fn suspect(suspect: &Suspect) -> Vec<u8> {
    serde_json::to_vec(suspect).unwrap_or_default()
}
