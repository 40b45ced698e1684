//! Which letters a command is about.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::super::{FAILED, fail, say};
use crate::deadletter::{DeadLetters, Letter, LetterId, Name};
use crate::delivery::{Key, is_resource_type};
use crate::redrive::Selected;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Which {
    /// Letters as `list` names them, or resources as Type/id
    #[arg(value_name = "LETTER", value_parser = Wanted::parse)]
    letters: Vec<Wanted>,
    /// Of these resource types
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = resource_type)]
    types: Vec<String>,
    /// Refused for these reasons
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = ["invalid", "refused-by-healthlake", "too-large", "not-understood"])]
    reason: Vec<String>,
    /// Refused last at this time or after it: 2026-11-24T16:00:00Z, 2026-11-24, or 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Refused last before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Letter(LetterId),
    Resource(Key),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, String> {
        let letter = LetterId::parse(text).map(Self::Letter);
        let wanted = letter.or_else(|| Key::parse(text).ok().map(Self::Resource));
        wanted.ok_or_else(|| "neither a letter (16 hex digits, as `list` shows) nor a Type/id".to_owned())
    }

    fn is(&self, name: &Name) -> bool {
        match self {
            Self::Letter(id) => *id == name.id,
            Self::Resource(key) => *key == name.key,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Letter(id) => id.fmt(f),
            Self::Resource(key) => key.fmt(f),
        }
    }
}

fn resource_type(text: &str) -> Result<String, String> {
    match is_resource_type(text) {
        true => Ok(text.to_owned()),
        false => Err("not a resource type such as Patient".to_owned()),
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || "write it as 2026-11-24T16:00:00Z, 2026-11-24, or 2h (ago)".to_owned();
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse() {
        return Ok(at);
    }
    let ago: Duration = humantime::parse_duration(text).map_err(|_| wrong())?;
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

impl Which {
    pub(super) fn is_everything(&self) -> bool {
        let Self { letters, types, reason, since, until } = self;
        letters.is_empty() && types.is_empty() && reason.is_empty() && since.is_none() && until.is_none()
    }

    fn names(&self, name: &Name) -> bool {
        let types = &self.types;
        (self.letters.is_empty() || self.letters.iter().any(|wanted| wanted.is(name)))
            && (types.is_empty() || types.iter().any(|wanted| wanted == name.key.resource_type()))
    }

    fn takes(&self, letter: &Letter) -> bool {
        (self.reason.is_empty() || self.reason.iter().any(|reason| **reason == *letter.reason))
            && self.since.is_none_or(|since| letter.last >= since)
            && self.until.is_none_or(|until| letter.last < until)
    }
}

/// The letters that were asked for, those refused first at the top.
pub(super) struct Found {
    pub selected: Vec<Selected>,
    /// Letters that can't be read: told on stderr, left where they are.
    pub unreadable: usize,
}

/// A letter of S3 is a request each.
const AT_ONCE: usize = 16;

impl Found {
    pub(super) async fn load(store: &dyn DeadLetters, which: &Which) -> Result<Self, ExitCode> {
        let names = store.names().await.map_err(|error| fail(FAILED, &error.to_string()))?;
        for wanted in &which.letters {
            if !names.iter().any(|name| wanted.is(name)) {
                return Err(fail(FAILED, &format!("no dead letter of {wanted} in {}", store.place())));
            }
        }
        let named = names.into_iter().filter(|name| which.names(name));
        let letters = stream::iter(named)
            .map(async |name| {
                let letter = store.letter(&name).await;
                (name, letter)
            })
            .buffer_unordered(AT_ONCE);
        let mut letters = std::pin::pin!(letters);
        let mut found = Self { selected: Vec::new(), unreadable: 0 };
        while let Some((name, letter)) = letters.next().await {
            match letter {
                Ok(Some(letter)) if which.takes(&letter) => found.selected.push(Selected { name, letter }),
                // Of no interest, or removed meanwhile.
                Ok(_) => {}
                Err(error) => {
                    say(&format!("error: {}: {error}", name.key));
                    found.unreadable += 1;
                }
            }
        }
        found.selected.sort_by(|a, b| (a.letter.first, &a.name.id).cmp(&(b.letter.first, &b.name.id)));
        Ok(found)
    }

    pub(super) fn code(&self) -> ExitCode {
        if self.unreadable > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!(moment("2026-11-24T16:00:00+01:00").unwrap().to_string(), "2026-11-24T15:00:00Z");
        assert_eq!(moment("2026-11-24").unwrap().to_string(), "2026-11-24T00:00:00Z");
        let ago = Timestamp::now().as_second() - moment("2h").unwrap().as_second();
        assert!((7199..=7201).contains(&ago), "{ago}");
        assert!(moment("yesterday").unwrap_err().starts_with("write it as"));
    }

    #[test]
    fn letters_and_resources_are_told_apart() {
        assert!(matches!(Wanted::parse("0123456789abcdef").unwrap(), Wanted::Letter(_)));
        assert!(matches!(Wanted::parse("Patient/p1").unwrap(), Wanted::Resource(_)));
        assert!(Wanted::parse("p1").is_err());
    }
}
