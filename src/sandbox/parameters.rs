//! Search parameters: those that HealthLake has and a sweep needs; any other is refused rather than ignored.

use std::cmp::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sigv4::{encode, percent_decode};

/// HealthLake's page size where the call names none.
const COUNT: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    LastUpdated,
}

/// What a result is ordered by, and where the next page goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) id: String,
    pub(super) at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) count: usize,
    pub(super) total: bool,
    pub(super) elements: Option<Vec<String>>,
    pub(super) after: Option<Position>,
    ids: Option<Vec<String>>,
    updated: Vec<Bound>,
    sort: Vec<(Field, bool)>,
    /// As they came, less `page`: for the links.
    given: Vec<(String, String)>,
}

impl Parameters {
    /// The query of a URL. A raw `+` is itself, as in the signature.
    pub(super) fn of_query(query: &str) -> Result<Self, String> {
        let decoded = |part: &str| String::from_utf8_lossy(&percent_decode(part)).into_owned();
        Self::read(pairs(query, decoded))
    }

    /// The body of a POST, where `+` is a space.
    pub(super) fn of_form(form: &str) -> Result<Self, String> {
        let decoded =
            |part: &str| String::from_utf8_lossy(&percent_decode(&part.replace('+', " "))).into_owned();
        Self::read(pairs(form, decoded))
    }

    fn read(given: Vec<(String, String)>) -> Result<Self, String> {
        let mut read = Self {
            count: COUNT,
            total: false,
            elements: None,
            after: None,
            ids: None,
            updated: Vec::new(),
            sort: Vec::new(),
            given: Vec::new(),
        };
        for (name, value) in given {
            match name.as_str() {
                "_count" => {
                    let count = value.parse().ok().filter(|count| (1..=100).contains(count));
                    read.count =
                        count.ok_or_else(|| format!("_count must be from 1 to 100, not '{value}'"))?;
                }
                "_total" => {
                    read.total = match value.as_str() {
                        "accurate" => true,
                        "none" => false,
                        _ => return Err(format!("_total must be accurate or none, not '{value}'")),
                    }
                }
                "_sort" => read.sort = sort(&value)?,
                "_elements" => read.elements = Some(list(&value)),
                "_id" => read.ids = Some(list(&value)),
                "_lastUpdated" => read.updated.push(Bound::of(&value)?),
                "_format" => {}
                "page" => {
                    read.after =
                        Some(Position::of_token(&value).ok_or("page is not a token of this data store")?);
                    continue;
                }
                _ => return Err(format!("Search parameter '{name}' is not supported")),
            }
            read.given.push((name, value));
        }
        Ok(read)
    }

    pub(super) fn matches(&self, position: &Position) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&position.id))
            && self.updated.iter().all(|bound| bound.holds(position.at))
    }

    /// Whether the order is the one in which resources are kept, and nothing asks for those of other pages.
    pub(super) fn reads_on(&self) -> bool {
        !self.total && self.sort.first().is_none_or(|first| *first == (Field::Id, false))
    }

    /// Ties are broken by id, so that pages neither repeat nor skip.
    pub(super) fn order(&self, a: &Position, b: &Position) -> Ordering {
        let by = |&(field, descending): &(Field, bool)| {
            let order = match field {
                Field::Id => a.id.cmp(&b.id),
                Field::LastUpdated => a.at.cmp(&b.at),
            };
            if descending { order.reverse() } else { order }
        };
        self.sort.iter().map(by).find(|order| order.is_ne()).unwrap_or_else(|| a.id.cmp(&b.id))
    }

    /// The query of the link to this page, or to the one after `last`, whose token stays raw as HealthLake's.
    pub(super) fn link(&self, last: Option<&Position>) -> String {
        let mut pairs: Vec<String> =
            self.given.iter().map(|(name, value)| format!("{name}={}", encode(value.as_bytes()))).collect();
        if let Some(last) = last {
            pairs.push(format!("page={}", last.token()));
        }
        pairs.join("&")
    }
}

fn pairs(text: &str, decoded: impl Fn(&str) -> String) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(|item| item.trim().to_owned()).collect()
}

fn sort(value: &str) -> Result<Vec<(Field, bool)>, String> {
    let rules = list(value);
    if rules.len() > 5 {
        return Err("_sort takes up to 5 rules".into());
    }
    rules
        .iter()
        .map(|rule| {
            let (name, descending) =
                rule.strip_prefix('-').map_or((rule.as_str(), false), |name| (name, true));
            match name {
                "_id" => Ok((Field::Id, descending)),
                "_lastUpdated" => Ok((Field::LastUpdated, descending)),
                _ => Err(format!("_sort by '{name}' is not supported")),
            }
        })
        .collect()
}

/// Every token ends in these, so that a client that leaves them raw is found out at the first page.
const TOKEN_END: &str = "/+==";

impl Position {
    fn token(&self) -> String {
        format!("{}{TOKEN_END}", BASE64.encode(format!("{} {}", self.at.as_millisecond(), self.id)))
    }

    fn of_token(token: &str) -> Option<Self> {
        let decoded = BASE64.decode(token.strip_suffix(TOKEN_END)?).ok()?;
        let (at, id) = std::str::from_utf8(&decoded).ok()?.split_once(' ')?;
        Some(Self { id: id.to_owned(), at: Timestamp::from_millisecond(at.parse().ok()?).ok()? })
    }
}

/// A prefix and the span of time that its value names: a date without a time is the whole day.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    prefix: &'static str,
    from: Timestamp,
    to: Timestamp,
}

impl Bound {
    fn of(value: &str) -> Result<Self, String> {
        let known = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"];
        let (prefix, date) = match known.into_iter().find(|prefix| value.starts_with(prefix)) {
            Some(prefix) => (prefix, &value[2..]),
            None => ("eq", value),
        };
        let (from, to) = span(date).ok_or_else(|| format!("_lastUpdated cannot be '{value}'"))?;
        Ok(Self { prefix, from, to })
    }

    fn holds(&self, at: Timestamp) -> bool {
        let within = self.from <= at && at < self.to;
        match self.prefix {
            "ne" => !within,
            "gt" | "sa" => at >= self.to,
            "ge" => at >= self.from,
            "lt" | "eb" => at < self.from,
            "le" => at < self.to,
            _ => within,
        }
    }
}

fn span(text: &str) -> Option<(Timestamp, Timestamp)> {
    if let Some((_, time)) = text.split_once('T') {
        let from: Timestamp = text.parse().ok()?;
        let precision = if time.contains('.') { 1 } else { 1000 };
        return Some((from, from + Duration::from_millis(precision)));
    }
    let numbers: Vec<i16> = text.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
    let date = |year, month, day| Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok();
    let (from, to) = match numbers[..] {
        [year] if text.len() == 4 => (date(year, 1, 1)?, date(year + 1, 1, 1)?),
        [year, 12] => (date(year, 12, 1)?, date(year + 1, 1, 1)?),
        [year, month] => (date(year, month, 1)?, date(year, month + 1, 1)?),
        [year, month, day] => (date(year, month, day)?, date(year, month, day)?.tomorrow().ok()?),
        _ => return None,
    };
    let start = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
    Some((start(from)?, start(to)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position { id: "a".into(), at: text.parse().unwrap() }
    }

    #[test]
    fn prefixes_bound_last_updated() {
        let noon = at("2026-03-04T12:00:00.500Z");
        for (value, holds) in [
            ("2026", true),
            ("2025", false),
            ("2026-03", true),
            ("2026-12", false),
            ("2026-03-04", true),
            ("ne2026-03-04", false),
            ("gt2026-03-04", false),
            ("ge2026-03-04", true),
            ("le2026-03-04", true),
            ("lt2026-03-04", false),
            ("gt2026-03-03", true),
            ("sa2026-03-03", true),
            ("eb2026-03-05", true),
            ("gt2026-03-04T12:00:00Z", false),
            ("ge2026-03-04T12:00:00Z", true),
            ("gt2026-03-04T12:00:00.499Z", true),
            ("gt2026-03-04T12:00:00.500Z", false),
            ("ge2026-03-04T12:00:00.500Z", true),
            ("lt2026-03-04T13:00:00.501+01:00", true),
            ("eq2026-03-04T12:00:00.500Z", true),
        ] {
            let parameters = Parameters::of_query(&format!("_lastUpdated={value}")).unwrap();
            assert_eq!(parameters.matches(&noon), holds, "{value}");
        }
        let between = Parameters::of_query("_lastUpdated=ge2026-03-04&_lastUpdated=lt2026-03-05").unwrap();
        assert!(between.matches(&noon) && !between.matches(&at("2026-03-05T00:00:00Z")));
    }

    #[test]
    fn what_healthlake_refuses_is_refused() {
        for bad in [
            "_count=0",
            "_count=101",
            "_count=x",
            "_total=estimate",
            "_summary=count",
            "_sort=birthDate",
            "_sort=_id,_id,_id,_id,_id,_id",
            "_lastUpdated=ap2026",
            "_lastUpdated=yesterday",
            "name=x",
            "page=x",
            "_lastUpdated=2026-13",
            "_lastUpdated=2026-02-30",
        ] {
            assert!(Parameters::of_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_carries_raw_characters_and_comes_back_encoded_or_not() {
        let position = at("2026-03-04T12:00:00.500Z");
        let token = position.token();
        assert!(["=", "/", "+"].iter().all(|raw| token.contains(raw)));
        for sent in [token.clone(), encode(token.as_bytes())] {
            assert_eq!(Parameters::of_query(&format!("page={sent}")).unwrap().after, Some(position.clone()));
        }
    }

    #[test]
    fn a_form_takes_plus_for_a_space() {
        let parameters = Parameters::of_form("_id=a%2Cb,+c").unwrap();
        assert_eq!(parameters.ids, Some(vec!["a".into(), "b".into(), "c".into()]));
    }
}
