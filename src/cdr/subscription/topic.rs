//! Subscriptions by topic, in R4: the Subscriptions R5 Backport guide, and Microsoft's spelling of it.

use serde_json::{Value, json};

use super::shape::{END, ShapeError, each_type, id, resource, with_id};
use super::{Criteria, Wanted, Wish};
use crate::cdr::{Capabilities, Server};

const MICROSOFT: &str = "http://azurehealthcareapis.com/data-extentions/SubscriptionTopics/transactions";
const MICROSOFT_CHANNEL: &str = "http://azurehealthcareapis.com/data-extentions/subscription-channel-type";
const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
/// Entries of one notification are forwarded one after the other within one deadline.
const MOST_IN_ONE: u32 = 10;

/// The topic to subscribe to; none where the server is subscribed by criteria.
pub(super) fn of(
    wish: &Wish,
    server: Server,
    capabilities: &Capabilities,
) -> Result<Option<String>, ShapeError> {
    if let Some(topic) = &wish.topic {
        return Ok(Some(topic.clone()));
    }
    match (server, capabilities.topics.as_slice()) {
        (Server::Microsoft, _) => Ok(Some(MICROSOFT.to_owned())),
        (Server::Other, [topic]) => Ok(Some(topic.clone())),
        (Server::Other, [_, _, ..]) => Err(ShapeError(format!(
            "--subscription-topic is missing: this CDR offers several: {}",
            capabilities.topics.join(", ")
        ))),
        (Server::Other, []) if capabilities.backport => Err(ShapeError(
            "--subscription-topic is missing: this CDR follows the R4 backport and does not say which topics it offers".into(),
        )),
        _ => Ok(None),
    }
}

/// One for all filters; of Microsoft's server one for each.
pub(super) fn wanted(wish: &Wish, server: Server, topic: &str) -> Result<Vec<Wanted>, ShapeError> {
    let microsoft = server == Server::Microsoft;
    let filters = match &wish.criteria {
        Criteria::All if !microsoft => Vec::new(),
        _ => each_type(wish, "a topic of this CDR")?,
    };
    if !microsoft {
        let name = id(wish).to_owned();
        let filters: Vec<&str> = filters.iter().map(|(_, filter)| filter.as_str()).collect();
        return Ok(vec![one(wish, name, topic, &filters, false)]);
    }
    let each = filters
        .iter()
        .map(|(suffix, filter)| one(wish, format!("{}-{suffix}", id(wish)), topic, &[filter], true));
    Ok(each.collect())
}

fn one(wish: &Wish, name: String, topic: &str, filters: &[&str], microsoft: bool) -> Wanted {
    let extension =
        |name: &str, kind: &str, value: Value| json!({ "url": format!("{GUIDE}/{name}"), kind: value });
    let mut wanted = resource(wish, &name, "requested", topic);
    wanted["meta"]["profile"] = json!([format!("{GUIDE}/backport-subscription")]);
    wanted["end"] = END.into();
    if !filters.is_empty() {
        let filters =
            filters.iter().map(|&filter| extension("backport-filter-criteria", "valueString", filter.into()));
        wanted["_criteria"] = json!({ "extension": filters.collect::<Vec<_>>() });
    }
    let channel = &mut wanted["channel"];
    channel["extension"] = json!([extension("backport-max-count", "valuePositiveInt", MOST_IN_ONE.into())]);
    channel["_payload"] =
        json!({ "extension": [extension("backport-payload-content", "valueCode", "full-resource".into())] });
    if microsoft {
        let coding = json!({ "system": MICROSOFT_CHANNEL, "code": "rest-hook" });
        channel["_type"] =
            json!({ "extension": [extension("backport-channel-type", "valueCoding", coding)] });
    }
    with_id(name, "Subscription", wanted, Vec::new())
}
