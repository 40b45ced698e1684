//! The validator's word on a body, and whether it is the resource that its URL names.

use crate::delivery::{Addressed, Key, Version};
use crate::validate::{Facts, Mode, Refusal, Validator};
use crate::verdict::BadRequest;

/// What is known of a resource that the validator lets through.
pub(super) struct Judged {
    pub named: Result<(Key, Version), BadRequest>,
    pub refused_above: Option<Mode>,
}

pub(super) fn judge(validator: &Validator, addressed: &Addressed, json: &[u8]) -> Result<Judged, Refusal> {
    let facts = validator.json(json)?;
    Ok(Judged { named: named(addressed, &facts), refused_above: validator.refused_above(json) })
}

/// URL and body have to agree.
fn named(addressed: &Addressed, facts: &Facts<'_>) -> Result<(Key, Version), BadRequest> {
    if addressed.resource_type.as_deref().is_some_and(|stated| *stated != *facts.resource_type) {
        return Err(BadRequest::UrlDisagrees);
    }
    let id = facts.id.as_deref().ok_or(BadRequest::NoId)?;
    if addressed.id.as_deref().is_some_and(|stated| *stated != *id) {
        return Err(BadRequest::UrlDisagrees);
    }
    let key = Key::new(&facts.resource_type, id).map_err(|_| BadRequest::BadPath)?;
    Ok((key, Version::new(facts.version_id.as_deref(), facts.last_updated.as_deref())))
}
