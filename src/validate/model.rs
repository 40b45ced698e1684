//! fhirbolt decides: each resource of a document goes through its concrete type.
//!
//! Two faults of the concrete types are worked around here (a single decimal outside of a choice has to be a string; a
//! valid field after a nested resource is refused): nested resources are judged alone and then blanked out of a
//! copy of the document in which the decimals are quoted. All fields that hold resources are optional, so nothing
//! is missed in the parent. Where neither occurs there is no copy.

use std::borrow::Cow;
use std::ops::Range;

use lakehook_fhirbolt_r4::{self as fhirbolt, Error};

use super::findings::{Findings, Nested};
use super::issue::Fault;
use super::place;

/// How many levels fhirbolt may recurse on the caller's stack. Measured without optimisation: 0.2 MB for two levels
/// and up to 57 KB for each one more (PlanDefinition.action), so 64 levels overflow the 2 MB of a worker thread,
/// which no catch_unwind would survive. HL7's deepest example has 8.
const LEVELS_IN_PLACE: u32 = 16;

/// Four times what the deepest that is let through was seen to need.
const DEEP_STACK: usize = 16 * 1024 * 1024;

/// What fhirbolt has against the document, as a fault in `bytes`.
pub(super) fn judge(bytes: &[u8], findings: &Findings<'_>) -> Result<(), Fault> {
    if findings.deepest <= LEVELS_IN_PLACE {
        return walk(bytes, findings);
    }
    std::thread::scope(|scope| {
        let deep = std::thread::Builder::new().name("deep-resource".into()).stack_size(DEEP_STACK);
        let judged = deep.spawn_scoped(scope, || walk(bytes, findings)).map(|thread| thread.join());
        match judged {
            Ok(Ok(judgement)) => judgement,
            _ => Err(Fault::new(0, "too-costly", "no thread could be had to look at a resource this deep")),
        }
    })
}

fn walk(bytes: &[u8], findings: &Findings<'_>) -> Result<(), Fault> {
    let decimals = &findings.decimals;
    let mut copy = if findings.nested.is_empty() && decimals.is_empty() {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(quoted(bytes, decimals))
    };
    for nested in &findings.nested {
        match nested {
            Nested::Resource { name, bytes } => one(name, &copy, shifted(bytes, decimals), decimals)?,
            Nested::Field { bytes } => blank(copy.to_mut(), shifted(bytes, decimals)),
        }
    }
    let whole = 0..copy.len();
    one(findings.resource_type, &copy, whole, decimals)
}

fn one(name: &str, copy: &[u8], range: Range<usize>, decimals: &[Range<usize>]) -> Result<(), Fault> {
    let start = range.start;
    let resource = &copy[range];
    match fhirbolt::concrete(name, resource) {
        Some(Ok(())) => Ok(()),
        Some(Err(Error { message, line, column })) => {
            let at = original(start + place::byte_at(resource, line, column), decimals);
            // At the very bound an array of primitives is one level too many for serde_json.
            let code = if message.contains("recursion limit") { "too-costly" } else { "structure" };
            Err(Fault::new(at, code, message))
        }
        // The table is derived from fhirbolt: only a table of another version could get here.
        None => {
            Err(Fault::new(original(start, decimals), "structure", "not a resource type of the R4 model"))
        }
    }
}

/// The document with its decimals as strings.
fn quoted(bytes: &[u8], decimals: &[Range<usize>]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len() + 2 * decimals.len());
    let mut done = 0;
    for decimal in decimals {
        copy.extend_from_slice(&bytes[done..decimal.start]);
        copy.push(b'"');
        copy.extend_from_slice(&bytes[decimal.clone()]);
        copy.push(b'"');
        done = decimal.end;
    }
    copy.extend_from_slice(&bytes[done..]);
    copy
}

/// Where bytes of the document lie in the copy. Ends of fields and resources never lie in a decimal.
fn shifted(range: &Range<usize>, decimals: &[Range<usize>]) -> Range<usize> {
    let shift = |at: usize| at + 2 * decimals.partition_point(|decimal| decimal.end <= at);
    shift(range.start)..shift(range.end)
}

/// Where a byte of the copy lies in the document.
fn original(at: usize, decimals: &[Range<usize>]) -> usize {
    // The n-th decimal's closing quote lies 2n + 1 bytes behind where the decimal ended.
    let mut quotes = 0;
    for decimal in decimals {
        if decimal.start + quotes >= at {
            break;
        }
        quotes += 2;
    }
    at.saturating_sub(quotes)
}

/// Makes a field white space, and one comma beside it.
fn blank(copy: &mut [u8], field: Range<usize>) {
    let white = |c: &u8| c.is_ascii_whitespace();
    copy[field.clone()].fill(b' ');
    let next = copy[field.end..].iter().position(|c| !white(c)).map(|at| field.end + at);
    let last = copy[..field.start].iter().rposition(|c| !white(c));
    let comma = [next, last].into_iter().flatten().find(|at| copy[*at] == b',');
    if let Some(comma) = comma {
        copy[comma] = b' ';
    }
}
