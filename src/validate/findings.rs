//! What the one pass leaves for those that come after it: faults, facts, and what fhirbolt needs to be told.

use std::ops::Range;

use smallvec::SmallVec;

use super::issue::Fault;
use super::text::Text;

/// What the pass found out, of use only where there is no fault.
#[derive(Debug, Default)]
pub(super) struct Findings<'a> {
    pub(super) faults: Vec<Fault>,
    /// The bytes are no JSON.
    pub(super) malformed: bool,
    pub(super) resource_type: &'static str,
    pub(super) id: Option<Text<'a>>,
    pub(super) version_id: Option<Text<'a>>,
    pub(super) last_updated: Option<Text<'a>>,
    /// Resources inside and the fields that hold them, in the order they end.
    pub(super) nested: SmallVec<[Nested; 4]>,
    /// How many levels of elements there are.
    pub(super) deepest: u32,
    /// Single decimals outside of a choice: fhirbolt wants those as strings, all others as numbers.
    pub(super) decimals: SmallVec<[Range<usize>; 16]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nested {
    Resource { name: &'static str, bytes: Range<usize> },
    Field { bytes: Range<usize> },
}
