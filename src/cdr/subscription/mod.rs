//! lakehook's own Subscriptions at the CDR: what they should be, compared with what is there.
//!
//! `shape` builds the wanted ones for each kind of server, `compare` lays them over what the CDR has and says what
//! changes, `manage` reads and writes. What is lakehook's carries a tag; what does not is left alone.

mod compare;
pub mod extensions;
mod manage;
mod shape;
mod topic;

#[cfg(test)]
mod tests;

use secrecy::SecretString;
use serde_json::Value;

use super::Server;
use crate::delivery::is_resource_type;

pub use compare::Change;
pub use manage::{Action, Seen, Step, SubscriptionError, apply, remove, seen, steps};
pub use shape::ShapeError;

/// What marks a Subscription as lakehook's: `meta.tag.system`. The code is the name that it was made under.
pub const TAG_SYSTEM: &str = "urn:lakehook:subscription";
/// The id of Smile CDR's own HealthLake connector, so that nothing else has to change.
pub const SMILE_ID: &str = "endpoint-awshealthlake-out";
pub const ID: &str = "lakehook";

/// What the settings ask for, whatever the server.
#[derive(Clone, Debug)]
pub struct Wish {
    /// None: the server's usual one
    pub id: Option<String>,
    pub criteria: Criteria,
    /// lakehook's base URL as the CDR reaches it
    pub endpoint: String,
    pub payload: String,
    /// The Authorization that the CDR has to send; none leaves that of the Subscription alone
    pub authorization: Option<SecretString>,
    /// Of Medplum's `X-Signature`
    pub hmac_secret: Option<SecretString>,
    pub send_deletes: bool,
    /// None: on for Smile CDR, off elsewhere
    pub deliver_latest: Option<bool>,
    pub strip_version_ids: bool,
    /// None: 20 for Smile CDR, 18 for Medplum, the server's own elsewhere
    pub retry_count: Option<u32>,
    /// Canonical URL of an R4 backport topic
    pub topic: Option<String>,
    /// None: as the CapabilityStatement says
    pub server: Option<Server>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criteria {
    /// `[*]`
    All,
    /// `[Patient,Observation]`
    Types(Vec<String>),
    /// `Patient?active=true`
    Search(String),
}

impl Criteria {
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if list.trim() == "*" {
                return Ok(Self::All);
            }
            let types: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
            return if types.iter().all(|name| is_resource_type(name)) {
                Ok(Self::Types(types))
            } else {
                Err("write [*], [Patient,Observation] or a search such as Patient?active=true".to_owned())
            };
        }
        let resource_type = text.split('?').next().unwrap_or_default();
        match is_resource_type(resource_type) {
            true if text == resource_type => Ok(Self::Types(vec![text.to_owned()])),
            true => Ok(Self::Search(text.to_owned())),
            false => {
                Err("write [*], [Patient,Observation] or a search such as Patient?active=true".to_owned())
            }
        }
    }
}

/// One Subscription that should be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Code of the tag, and the id where the client may choose it
    pub name: String,
    /// Where it is; none where the server chooses the id, and it is found by its tag.
    pub path: Option<String>,
    /// Where such are created and searched.
    collection: &'static str,
    /// Without the extensions that are looked after
    resource: Value,
    extensions: Vec<Wished>,
}

/// An extension that should be there with this value, or not be there at all.
#[derive(Clone, Debug)]
struct Wished {
    on_channel: bool,
    url: &'static str,
    /// `("valueBoolean", true)`
    value: Option<(&'static str, Value)>,
    secret: bool,
}
