//! What is wanted, laid over what is there: what lakehook does not look after stays as it is.

use serde_json::{Map, Value, json};

use super::extensions::short;
use super::{TAG_SYSTEM, Wanted, Wished};

/// One difference, fit to be shown: secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `channel.endpoint`
    pub what: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// Of the root and of the channel; the rest is dealt with one by one.
const ROOT: [&str; 3] = ["criteria", "_criteria", "end"];
const CHANNEL: [&str; 6] = ["type", "_type", "endpoint", "payload", "_payload", "extension"];

pub(super) fn is_ours(subscription: &Value) -> bool {
    let tags = subscription["meta"]["tag"].as_array();
    tags.is_some_and(|tags| tags.iter().any(|tag| tag["system"] == TAG_SYSTEM))
}

/// The resource to be written, and what changes by that: nothing where it is as wanted.
pub(super) fn lay_over(wanted: &Wanted, present: Option<&Value>) -> (Value, Vec<Change>) {
    let mut result = present.cloned().unwrap_or_else(|| json!({ "resourceType": "Subscription" }));
    let mut changes = Vec::new();
    let wish = &wanted.resource;
    if let Some(id) = wish.get("id") {
        result["id"] = id.clone();
    }
    if result.get("reason").is_none() {
        result["reason"] = wish["reason"].clone();
    }
    status(&mut result, wish, &mut changes);
    for name in ROOT {
        set(&mut result, wish, "", name, &mut changes);
    }
    if !result["channel"].is_object() {
        result["channel"] = Value::Object(Map::new());
    }
    for name in CHANNEL {
        // Extensions that a shape brings along are merged below, like the looked-after ones.
        if name != "extension" {
            set(&mut result["channel"], &wish["channel"], "channel.", name, &mut changes);
        }
    }
    headers(&mut result, wish, &mut changes);
    for brought in wish["channel"]["extension"].as_array().into_iter().flatten() {
        extension(
            &mut result["channel"],
            brought["url"].as_str().unwrap_or_default(),
            Some(brought),
            &mut |from, to| {
                changes.push(change("channel.extension", from.map(shown), to.map(shown)));
            },
        );
    }
    for wished in &wanted.extensions {
        wished.lay_over(&mut result, &mut changes);
    }
    tag(&mut result, wish, &mut changes);
    // The server's own; a PUT with an old one would be refused by some.
    if let Some(meta) = result["meta"].as_object_mut() {
        for own in ["versionId", "lastUpdated", "source"] {
            meta.remove(own);
        }
    }
    (result, changes)
}

/// `active` and `requested` are fine; `error`, `off` and none at all are not.
fn status(result: &mut Value, wish: &Value, changes: &mut Vec<Change>) {
    let found = result["status"].as_str().map(str::to_owned);
    if !matches!(found.as_deref(), Some("active" | "requested")) {
        result["status"] = wish["status"].clone();
        changes.push(change("status", found, wish["status"].as_str().map(str::to_owned)));
    }
    if result.get("error").is_some()
        && let Some(result) = result.as_object_mut()
    {
        result.remove("error");
    }
}

/// An element that the wish does not name is left alone.
fn set(result: &mut Value, wish: &Value, place: &str, name: &str, changes: &mut Vec<Change>) {
    let Some(wanted) = wish.get(name) else { return };
    let found = result.get(name).cloned();
    if found.as_ref() == Some(wanted) {
        return;
    }
    // Where it ends is the CDR's own matter, once it has one.
    if name == "end" && found.is_some() {
        return;
    }
    let show = |value: &Value| match (name, value.as_str()) {
        ("endpoint", Some(url)) => without_secrets(url),
        _ => shown(value),
    };
    changes.push(change(&format!("{place}{name}"), found.as_ref().map(&show), Some(show(wanted))));
    result[name] = wanted.clone();
}

/// Only Authorization is ours.
fn headers(result: &mut Value, wish: &Value, changes: &mut Vec<Change>) {
    let lines = |value: &Value| -> Vec<String> {
        value["channel"]["header"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let is_authorization = |line: &String| {
        line.split(':').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("authorization"))
    };
    let wanted = lines(wish);
    if wanted.is_empty() {
        return;
    }
    let (ours, others): (Vec<_>, Vec<_>) = lines(result).into_iter().partition(is_authorization);
    if ours == wanted {
        return;
    }
    let from =
        (!ours.is_empty()).then(|| ours.iter().map(|line| masked(line)).collect::<Vec<_>>().join(", "));
    let to = wanted.iter().map(|line| masked(line)).collect::<Vec<_>>().join(", ");
    let to = if from.as_deref() == Some(&to) { format!("{to} (another secret)") } else { to };
    changes.push(change("channel.header", from, Some(to)));
    result["channel"]["header"] = json!([others, wanted].concat());
}

fn tag(result: &mut Value, wish: &Value, changes: &mut Vec<Change>) {
    if let Some(profile) = wish["meta"].get("profile")
        && result["meta"].get("profile").is_none()
    {
        result["meta"]["profile"] = profile.clone();
        changes.push(change("meta.profile", None, Some(shown(profile))));
    }
    if is_ours(result) {
        return;
    }
    let wanted = &wish["meta"]["tag"][0];
    match result["meta"]["tag"].as_array_mut() {
        Some(tags) => tags.push(wanted.clone()),
        None => result["meta"]["tag"] = json!([wanted]),
    }
    let code = wanted["code"].as_str().unwrap_or_default();
    changes.push(change("meta.tag", None, Some(format!("{TAG_SYSTEM}|{code}"))));
}

impl Wished {
    fn lay_over(&self, result: &mut Value, changes: &mut Vec<Change>) {
        let wanted = self.value.as_ref().map(|(kind, value)| json!({ "url": self.url, *kind: value }));
        let (place, element) = match self.on_channel {
            true => ("channel.extension", &mut result["channel"]),
            false => ("extension", result),
        };
        let what = format!("{place} {}", short(self.url));
        extension(element, self.url, wanted.as_ref(), &mut |from, to| {
            let show = |extension: &Value| if self.secret { "****".to_owned() } else { value_of(extension) };
            let (from, mut to) = (from.map(show), to.map(show));
            if self.secret && from.is_some() && to.is_some() {
                to = Some("**** (another secret)".to_owned());
            }
            changes.push(change(&what, from, to));
        });
    }
}

/// Sets the extension of this URL, or takes it away; `changed` is told from what to what.
fn extension(
    element: &mut Value,
    url: &str,
    wanted: Option<&Value>,
    changed: &mut dyn FnMut(Option<&Value>, Option<&Value>),
) {
    let present = element["extension"].as_array().cloned().unwrap_or_default();
    let (same, mut rest): (Vec<_>, Vec<_>) =
        present.into_iter().partition(|extension| extension["url"] == url);
    // A false one says what none says.
    let off = wanted.is_none() && same.iter().all(|extension| extension["valueBoolean"] == false);
    if off || (same.len() == 1 && same.first() == wanted) {
        return;
    }
    changed(same.first(), wanted);
    rest.extend(wanted.cloned());
    if rest.is_empty() {
        if let Some(element) = element.as_object_mut() {
            element.remove("extension");
        }
    } else {
        element["extension"] = Value::Array(rest);
    }
}

fn change(what: &str, from: Option<String>, to: Option<String>) -> Change {
    Change { what: what.to_owned(), from, to }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value of an extension, whatever its type.
fn value_of(extension: &Value) -> String {
    let mut values = extension.as_object().into_iter().flatten();
    values.find(|(name, _)| name.starts_with("value")).map_or_else(String::new, |(_, value)| shown(value))
}

/// `Authorization: Bearer ****`
fn masked(line: &str) -> String {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    match value.trim().split_once(' ') {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{}: {scheme} ****", name.trim())
        }
        _ => format!("{}: ****", name.trim()),
    }
}

/// A query or a user may be a secret.
pub(super) fn without_secrets(url: &str) -> String {
    let Ok(parsed) = reqwest::Url::parse(url) else { return "(no URL)".to_owned() };
    let query = if parsed.query().is_some() { "?****" } else { "" };
    format!("{}{}{query}", parsed.origin().ascii_serialization(), parsed.path())
}
