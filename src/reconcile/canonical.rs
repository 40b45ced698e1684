//! A digest of what a resource says, whoever stores it: two servers that hold the same give the same digest.
//!
//! The order of keys and white space between tokens do not count. A decimal counts with its digits: `1.0` is not
//! `1.00`. Left out is what each server sets itself, and what HealthLake adds: see `docs/reconcile.md`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// The first half of a SHA-256: no two resources of one id will ever share it by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Of what the filter keeps out, whatever it says: the mirror has to hold nothing of it.
    pub const FILTERED: Self = Self(*b"kept-out:filter!");

    pub fn hex(self) -> String {
        hex::encode(self.0)
    }
}

/// How decimals are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decimals {
    /// `1.0` and `1.00` differ, as FHIR says.
    #[default]
    Digits,
    /// They do not: for a data store that spells decimals anew.
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no JSON object")]
pub struct NotAResource;

/// Of a resource in FHIR JSON.
pub fn digest(json: &[u8], decimals: Decimals) -> Result<Digest, NotAResource> {
    let raw: &RawValue = serde_json::from_slice(json).map_err(|_| NotAResource)?;
    if !raw.get().starts_with('{') {
        return Err(NotAResource);
    }
    let mut writer = Writer { hash: Sha256::new(), decimals };
    writer.value(raw, Place::Resource).map_err(|_| NotAResource)?;
    let mut half = [0; 16];
    half.copy_from_slice(&writer.hash.finalize()[..16]);
    Ok(Digest(half))
}

/// Where a value stands, as far as a rule of this module depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Resource,
    Meta,
    MetaSource,
    MetaTags,
    Extensions,
    Narrative,
    Div,
    Elsewhere,
}

impl Place {
    fn of_member(self, name: &str) -> Self {
        match (self, name) {
            (_, "extension" | "modifierExtension") => Self::Extensions,
            (Self::Resource, "meta") => Self::Meta,
            (Self::Meta, "source") => Self::MetaSource,
            (Self::Meta, "tag") => Self::MetaTags,
            (_, "text") => Self::Narrative,
            (Self::Narrative, "div") => Self::Div,
            _ => Self::Elsewhere,
        }
    }
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Every value begins with what it is and how long it is, so that no two ways to write bytes meet.
struct Writer {
    hash: Sha256,
    decimals: Decimals,
}

impl Writer {
    fn value(&mut self, raw: &RawValue, place: Place) -> Result<(), serde_json::Error> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => {
                let members = members(text, place)?;
                self.mark(b'{', members.len());
                for (name, value) in members {
                    self.text(b'k', &name);
                    self.value(value, place.of_member(&name))?;
                }
            }
            Some(b'[') => {
                let items = items(text, place)?;
                self.mark(b'[', items.len());
                for item in items {
                    self.value(item, Place::Elsewhere)?;
                }
            }
            Some(b'"') => {
                let string: String = serde_json::from_str(text)?;
                match place {
                    Place::Div => self.text(b'"', &one_blank(&string)),
                    Place::MetaSource => self.text(b'"', without_request(&string)),
                    _ => self.text(b'"', &string),
                }
            }
            Some(b'-' | b'0'..=b'9') => self.text(b'0', &number(text, self.decimals)),
            _ => self.text(b'l', text),
        }
        Ok(())
    }

    fn mark(&mut self, what: u8, length: usize) {
        self.hash.update([what]);
        self.hash.update((length as u64).to_le_bytes());
    }

    fn text(&mut self, what: u8, text: &str) {
        self.mark(what, text.len());
        self.hash.update(text.as_bytes());
    }
}

/// An object's members that count, by name.
fn members(text: &str, place: Place) -> Result<Members<'_>, serde_json::Error> {
    let mut members: Members<'_> = serde_json::from_str(text)?;
    if place == Place::Meta {
        members.remove("versionId");
        members.remove("lastUpdated");
    }
    let mut failed = Ok(());
    members.retain(|name, value| match stands_for_nothing(value, place.of_member(name)) {
        Ok(nothing) => !nothing,
        Err(error) => {
            failed = Err(error);
            true
        }
    });
    failed.map(|()| members)
}

/// What is empty once the servers' own additions are gone; FHIR knows no empty `meta`, `tag` or `extension`.
fn stands_for_nothing(value: &RawValue, place: Place) -> Result<bool, serde_json::Error> {
    let text = value.get();
    Ok(match (place, text.as_bytes().first()) {
        (Place::Meta, Some(b'{')) => members(text, place)?.is_empty(),
        (Place::MetaTags | Place::Extensions, Some(b'[')) => items(text, place)?.is_empty(),
        (Place::MetaSource, Some(b'"')) => without_request(&serde_json::from_str::<String>(text)?).is_empty(),
        _ => false,
    })
}

fn items(text: &str, place: Place) -> Result<Vec<&RawValue>, serde_json::Error> {
    let mut items: Vec<&RawValue> = serde_json::from_str(text)?;
    match place {
        Place::MetaTags => items.retain(|item| !names(item, "code", |code| code == "SUBSETTED")),
        Place::Extensions => items.retain(|item| !names(item, "url", is_healthlake_s)),
        _ => {}
    }
    Ok(items)
}

fn names(item: &RawValue, member: &str, is: impl Fn(&str) -> bool) -> bool {
    let members: Option<Members<'_>> = serde_json::from_str(item.get()).ok();
    let value = members.as_ref().and_then(|members| members.get(member));
    value.and_then(|value| serde_json::from_str::<String>(value.get()).ok()).is_some_and(|text| is(&text))
}

/// Extensions that HealthLake adds: what `minimal` validation found, and what its language processing found.
fn is_healthlake_s(url: &str) -> bool {
    url == "http://healthlake.amazonaws.com/fhir/StructureDefinition/validation-issue"
        || url.starts_with("http://healthlake.amazonaws.com/aws-cm/")
}

/// HAPI sets `meta.source` to the id of the request that wrote the version, behind a `#`; a raw Binary is delivered
/// without it.
fn without_request(source: &str) -> &str {
    source.split_once('#').map_or(source, |(source, _)| source)
}

/// A writer of XML makes one blank of white space in a narrative, where XHTML shows one anyway.
fn one_blank(div: &str) -> String {
    let mut out = String::with_capacity(div.len());
    for c in div.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if out.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Sign, digits without zeros in front, and the power of ten of the last one: `-1.50`, `-15.0e-1` and `-150E-2` are
/// one number with one precision.
fn number(text: &str, decimals: Decimals) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let Ok(mut exponent) = exponent.trim_start_matches('+').parse::<i64>() else { return text.to_owned() };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let digits = format!("{whole}{fraction}");
    let mut digits = digits.trim_start_matches('0');
    if decimals == Decimals::Value {
        let kept = digits.trim_end_matches('0');
        exponent = exponent.saturating_add(i64::try_from(digits.len() - kept.len()).unwrap_or(i64::MAX));
        digits = kept;
        if digits.is_empty() {
            return "0".to_owned();
        }
    }
    // Zero has a precision too, and no sign that means anything.
    let sign = if digits.is_empty() { "" } else { sign };
    format!("{sign}{digits}e{exponent}")
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
