//! The Subscriptions that each kind of server needs.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::extensions::*;
use super::{Criteria, ID, SMILE_ID, TAG_SYSTEM, Wanted, Wish, Wished, topic};
use crate::cdr::{Capabilities, Server};

/// What the settings ask for can't be had at this server. Names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

const COLLECTION: &str = "Subscription";
/// What Smile CDR's own connector gets in docs; without one it retries without end.
const SMILE_RETRIES: u32 = 20;
/// Medplum's most
const MEDPLUM_RETRIES: u32 = 18;
/// R4 wants an end of some servers' Subscriptions; this one is far.
pub(super) const END: &str = "2040-01-01T00:00:00Z";

/// At least one.
pub fn wanted(wish: &Wish, capabilities: &Capabilities) -> Result<Vec<Wanted>, ShapeError> {
    let server = wish.server.unwrap_or(capabilities.server);
    if let Some(topic) = topic::of(wish, server, capabilities)? {
        return topic::wanted(wish, server, &topic);
    }
    match server {
        Server::Hapi | Server::SmileCdr => Ok(vec![hapi(wish, server, capabilities.version.as_deref())]),
        Server::Medplum => medplum(wish),
        Server::Firely => plain(wish, "Firely Server", "administration/Subscription"),
        Server::Microsoft | Server::Other => plain(wish, "this CDR", COLLECTION),
    }
}

fn hapi(wish: &Wish, server: Server, version: Option<&str>) -> Wanted {
    let smile = server == Server::SmileCdr;
    let name = wish.id.clone().unwrap_or_else(|| if smile { SMILE_ID } else { ID }.to_owned());
    let criteria = match &wish.criteria {
        Criteria::All => "[*]".to_owned(),
        Criteria::Types(types) => format!("[{}]", types.join(",")),
        Criteria::Search(search) => search.clone(),
    };
    let boolean = |on: bool| on.then(|| ("valueBoolean", Value::Bool(true)));
    let on_channel = |url, value| Wished { on_channel: true, url, value, secret: false };
    let mut extensions = vec![
        on_channel(SEND_DELETES, boolean(wish.send_deletes)),
        on_channel(DELIVER_LATEST, boolean(wish.deliver_latest.unwrap_or(smile))),
        on_channel(STRIP_VERSION_IDS, boolean(wish.strip_version_ids)),
        // Deletes are lost with it: docs/subscriptions.md.
        Wished { on_channel: false, url: PAYLOAD_SEARCH, value: None, secret: false },
    ];
    if reads_the_root(server, version) {
        let value = boolean(wish.send_deletes);
        extensions.push(Wished { on_channel: false, url: SEND_DELETES, value, secret: false });
    }
    if let Some(count) = wish.retry_count.or(smile.then_some(SMILE_RETRIES)) {
        extensions.push(on_channel(RETRY_COUNT, Some(("valueInteger", count.into()))));
    }
    let resource = resource(wish, &name, "requested", &criteria);
    with_id(name, COLLECTION, resource, extensions)
}

/// HAPI 8.8 reads send-delete-messages on the channel only; of older ones one read it on the root only (hapi-fhir
/// #3684). Where it is not known which one it is, both places are right.
fn reads_the_root(server: Server, version: Option<&str>) -> bool {
    let first = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let old_until = if server == Server::SmileCdr { 2023 } else { 7 };
    first.is_none_or(|first| first < old_until)
}

/// It has no criteria for all types, chooses ids itself, and wants deletes in a Subscription of their own.
fn medplum(wish: &Wish) -> Result<Vec<Wanted>, ShapeError> {
    let mut all = Vec::new();
    for (suffix, criteria) in each_type(wish, "Medplum")? {
        let criteria = criteria.trim_end_matches('?');
        for delete in [false, true] {
            if delete && !wish.send_deletes {
                continue;
            }
            let name = format!("{}-{suffix}{}", id(wish), if delete { "-delete" } else { "" });
            let wished = |url, value| Wished { on_channel: false, url, value: Some(value), secret: false };
            let attempts = wish.retry_count.unwrap_or(MEDPLUM_RETRIES);
            let mut extensions = vec![wished(MEDPLUM_ATTEMPTS, ("valueInteger", attempts.into()))];
            if delete {
                extensions.push(wished(MEDPLUM_INTERACTION, ("valueCode", "delete".into())));
            }
            let mut resource = resource(wish, &name, "active", criteria);
            if let Some(secret) = &wish.hmac_secret {
                let value = Some(("valueString", secret.expose_secret().into()));
                extensions.push(Wished { on_channel: false, url: MEDPLUM_SECRET, value, secret: true });
                // Signed is enough, and a token need not lie there.
                if let Some(channel) = resource["channel"].as_object_mut() {
                    channel.remove("header");
                }
            }
            all.push(Wanted { name, path: None, collection: COLLECTION, resource, extensions });
        }
    }
    Ok(all)
}

/// What R4 itself knows: one search a Subscription, no deletes.
fn plain(wish: &Wish, who: &str, collection: &'static str) -> Result<Vec<Wanted>, ShapeError> {
    let each = each_type(wish, who)?;
    let wanted = each.into_iter().map(|(suffix, criteria)| {
        let name = format!("{}-{suffix}", id(wish));
        let mut resource = resource(wish, &name, "requested", &criteria);
        resource["end"] = END.into();
        with_id(name, collection, resource, Vec::new())
    });
    Ok(wanted.collect())
}

pub(super) fn id(wish: &Wish) -> &str {
    wish.id.as_deref().unwrap_or(ID)
}

pub(super) fn with_id(
    name: String,
    collection: &'static str,
    mut resource: Value,
    extensions: Vec<Wished>,
) -> Wanted {
    resource["id"] = name.as_str().into();
    let path = Some(format!("{collection}/{name}"));
    Wanted { name, path, collection, resource, extensions }
}

/// A suffix of the name and the search of each type.
pub(super) fn each_type(wish: &Wish, who: &str) -> Result<Vec<(String, String)>, ShapeError> {
    match &wish.criteria {
        Criteria::All => Err(ShapeError(format!(
            "--subscription-criteria: {who} has no criteria for all types: name them, as [Patient,Observation]"
        ))),
        Criteria::Types(types) => {
            Ok(types.iter().map(|name| (name.to_ascii_lowercase(), format!("{name}?"))).collect())
        }
        Criteria::Search(search) => {
            let resource_type = search.split('?').next().unwrap_or_default();
            Ok(vec![(resource_type.to_ascii_lowercase(), search.clone())])
        }
    }
}

/// All but the extensions.
pub(super) fn resource(wish: &Wish, name: &str, status: &str, criteria: &str) -> Value {
    let mut channel = json!({ "type": "rest-hook", "endpoint": wish.endpoint, "payload": wish.payload });
    if let Some(authorization) = &wish.authorization {
        channel["header"] = json!([format!("Authorization: {}", authorization.expose_secret())]);
    }
    json!({
        "resourceType": "Subscription",
        "meta": { "tag": [{ "system": TAG_SYSTEM, "code": name }] },
        "status": status,
        "reason": "Mirror to AWS HealthLake",
        "criteria": criteria,
        "channel": channel,
    })
}
