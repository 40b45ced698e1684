//! Mode `off`: whatever parses as a JSON object with a `resourceType`, for sites that must mirror historic data
//! as it is. Only what would make the delivery's own identity ambiguous is still refused.

use std::collections::HashSet;

use super::issue::{Facts, Fault, quotable};
use super::scan::{Cursor, Halt};
use super::text::Text;

/// The facts of a resource, or the faults and whether the bytes are no JSON.
pub(super) fn check(bytes: &[u8], max_depth: u32) -> Result<Facts<'_>, (bool, Fault)> {
    let mut found = Found::default();
    let mut cursor = Cursor::new(bytes);
    match found.document(&mut cursor, 2 * max_depth) {
        Err(Stop::Halt(Halt::TooDeep { at })) => return Err((false, Fault::too_deep(at))),
        Err(Stop::Halt(Halt::Syntax { at, text })) => return Err((true, Fault::new(at, "structure", text))),
        Err(Stop::Fault(fault)) => return Err((false, fault)),
        Err(Stop::Halt(Halt::Enough)) | Ok(()) => {}
    }
    match found.resource_type {
        Some(name) => Ok(Facts {
            resource_type: name.to_fact(),
            id: found.id.map(Text::to_fact),
            version_id: found.version_id.map(Text::to_fact),
            last_updated: found.last_updated.map(Text::to_fact),
        }),
        None => Err((false, Fault::new(0, "structure", "a resource without a `resourceType`"))),
    }
}

#[derive(Default)]
struct Found<'a> {
    resource_type: Option<Text<'a>>,
    id: Option<Text<'a>>,
    version_id: Option<Text<'a>>,
    last_updated: Option<Text<'a>>,
}

enum Stop {
    Halt(Halt),
    Fault(Fault),
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Stop::Halt(halt)
    }
}

impl<'a> Found<'a> {
    fn document(&mut self, cursor: &mut Cursor<'a>, depth: u32) -> Result<(), Stop> {
        cursor.white_space();
        let at = cursor.at;
        if cursor.peek() != b'{' {
            cursor.skip(depth)?;
            cursor.end()?;
            return Err(Stop::Fault(Fault::new(at, "structure", "expected a resource, which is an object")));
        }
        members(cursor, |cursor, key| match key {
            "resourceType" => string(cursor, depth - 1, &mut self.resource_type),
            "id" => string(cursor, depth - 1, &mut self.id),
            "meta" if cursor.peek() == b'{' => members(cursor, |cursor, key| match key {
                "versionId" => string(cursor, depth - 2, &mut self.version_id),
                "lastUpdated" => string(cursor, depth - 2, &mut self.last_updated),
                _ => Ok(cursor.skip(depth - 2)?),
            }),
            _ => Ok(cursor.skip(depth - 1)?),
        })?;
        Ok(cursor.end()?)
    }
}

/// Keeps a string; a value of another form is no fact.
fn string<'a>(cursor: &mut Cursor<'a>, depth: u32, fact: &mut Option<Text<'a>>) -> Result<(), Stop> {
    match cursor.peek() {
        b'"' => *fact = Some(cursor.string()?),
        _ => cursor.skip(depth)?,
    }
    Ok(())
}

/// Walks an object's members, none of which may come twice.
fn members<'a>(
    cursor: &mut Cursor<'a>,
    mut member: impl FnMut(&mut Cursor<'a>, &str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut seen = HashSet::new();
    if !cursor.open(b'}') {
        return Ok(());
    }
    loop {
        let at = cursor.at;
        let key = cursor.key()?.to_text();
        if seen.contains(&key) {
            let text = format!("duplicate element `{}`", quotable(key.as_bytes()));
            return Err(Stop::Fault(Fault::new(at, "structure", text)));
        }
        member(cursor, &key)?;
        seen.insert(key);
        if !cursor.next_member()? {
            return Ok(());
        }
    }
}
