//! The one pass: from the first byte of a resource to the last it looks at JSON, names, shapes, cardinalities
//! and primitives at once, driven by the table. Nothing is allocated while nothing is wrong, unless there are more
//! resources inside, more decimals or more nulls than there is room for on the stack.
//!
//! A fault that leaves the place in the document clear (a bad value, an unknown element, a missing one) is noted
//! and the pass goes on; a syntax error ends it.

use std::cell::Cell;

use super::findings::{Findings, Nested};
use super::issue::{Fault, ISSUE_LIMIT, quotable};
use super::lists::{List, Lists};
use super::scan::{Cursor, Halt};
use super::table::{Field, Fields, Kind, Table, Type};
use super::text::Text;

/// What an object is, where that changes what is allowed or wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Resource,
    Meta,
    Entry,
    Contained,
    Element,
}

/// Checks the whole of `bytes`, which are UTF-8, as one resource.
pub(super) fn check(bytes: &[u8], grammars: bool, max_depth: u32) -> Findings<'_> {
    let mut check = Check {
        cursor: Cursor::new(bytes),
        table: Table::r4(),
        grammars,
        max_depth,
        depth: 0,
        lists: Lists::default(),
        scratch: SCRATCH.take(),
        findings: Findings::default(),
    };
    match check.document() {
        Ok(()) | Err(Halt::Enough) => {}
        Err(Halt::TooDeep { at }) => check.findings.faults.push(Fault::too_deep(at)),
        Err(Halt::Syntax { at, text }) => {
            check.findings.malformed = true;
            check.findings.faults.push(Fault::new(at, "structure", text));
        }
    }
    if check.scratch.capacity() <= SCRATCH_KEPT {
        SCRATCH.set(check.scratch);
    }
    check.findings
}

/// More room than nearly every narrative needs; a thread keeps no more than that.
const SCRATCH_KEPT: usize = 256 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(super) struct Check<'a> {
    pub(super) cursor: Cursor<'a>,
    table: &'static Table,
    pub(super) grammars: bool,
    max_depth: u32,
    depth: u32,
    lists: Lists,
    /// Strings with their escapes resolved, one after the other.
    pub(super) scratch: Vec<u8>,
    pub(super) findings: Findings<'a>,
}

impl<'a> Check<'a> {
    fn document(&mut self) -> Result<(), Halt> {
        self.cursor.white_space();
        self.resource(Role::Resource)?;
        self.cursor.end()
    }

    /// Notes a fault; the pass goes on unless there are enough.
    #[cold]
    pub(super) fn fault(
        &mut self,
        at: usize,
        code: &'static str,
        text: impl Into<String>,
    ) -> Result<(), Halt> {
        self.findings.faults.push(Fault::new(at, code, text));
        if self.findings.faults.len() < ISSUE_LIMIT { Ok(()) } else { Err(Halt::Enough) }
    }

    /// Something else stands here than what should: it is stepped over and noted.
    #[cold]
    pub(super) fn mismatch(&mut self, expected: &str) -> Result<(), Halt> {
        let at = self.cursor.at;
        let found = match self.cursor.peek() {
            b'"' => "a string",
            b'{' => "an object",
            b'[' => "an array",
            b't' | b'f' => "a boolean",
            b'n' => "null",
            _ => "a number",
        };
        self.skip()?;
        self.fault(at, "structure", format!("expected {expected}, found {found}"))
    }

    fn skip(&mut self) -> Result<(), Halt> {
        // Each level of the model takes up to two of JSON, an array and an object.
        self.cursor.skip(2 * (self.max_depth - self.depth))
    }

    fn resource(&mut self, role: Role) -> Result<(), Halt> {
        let start = self.cursor.at;
        if self.cursor.peek() != b'{' {
            return self.mismatch("a resource, which is an object");
        }
        let Some(name) = self.cursor.resource_type(2 * (self.max_depth - self.depth))? else {
            self.skip()?;
            return self.fault(start, "structure", "a resource without a `resourceType`");
        };
        let resource = match name.escaped {
            false => self.table.resource(name.raw),
            true => self.table.resource(name.to_text().as_bytes()),
        };
        let Some(id) = resource else {
            self.skip()?;
            return self.fault(start, "structure", "`resourceType` names no resource type of R4");
        };
        let name = self.table.get(id).name;
        self.object(id, role)?;
        if role == Role::Resource {
            self.findings.resource_type = name;
        } else {
            self.findings.nested.push(Nested::Resource { name, bytes: start..self.cursor.at });
        }
        Ok(())
    }

    fn object(&mut self, id: u16, role: Role) -> Result<(), Halt> {
        let kind: &'static Type = self.table.get(id);
        let start = self.cursor.at;
        if self.cursor.peek() != b'{' {
            return self.mismatch("an object");
        }
        if self.depth == self.max_depth {
            return Err(Halt::TooDeep { at: start });
        }
        if !self.cursor.open(b'}') {
            return self.fault(start, "structure", "an empty object");
        }
        self.depth += 1;
        self.findings.deepest = self.findings.deepest.max(self.depth);
        let mut seen = Seen::default();
        loop {
            self.member(kind, role, &mut seen)?;
            if !self.cursor.next_member()? {
                break;
            }
        }
        let present = seen.plain.union(&seen.underscored);
        for required in &kind.required {
            if !required.any_of.meets(&present) {
                self.fault(start, "required", format!("missing required element `{}`", required.name))?;
            }
        }
        if !self.lists.is_empty() {
            self.close_lists(kind, start)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn member(&mut self, kind: &'static Type, role: Role, seen: &mut Seen) -> Result<(), Halt> {
        let key_at = self.cursor.at;
        let key = self.cursor.key()?;
        if key.escaped {
            let name = key.to_text();
            return self.named_member(kind, role, seen, key_at, name.as_bytes());
        }
        self.named_member(kind, role, seen, key_at, key.raw)
    }

    #[inline]
    fn named_member(
        &mut self,
        kind: &'static Type,
        role: Role,
        seen: &mut Seen,
        key_at: usize,
        key: &[u8],
    ) -> Result<(), Halt> {
        let (underscored, name) = match key {
            [b'_', name @ ..] => (true, name),
            name => (false, name),
        };
        let Some(position) = kind.field(name) else {
            return self.other_member(kind, role, seen, key_at, key);
        };
        let field = &kind.fields[position as usize];
        let same = if underscored { &mut seen.underscored } else { &mut seen.plain };
        if same.contains(position) {
            self.skip()?;
            return self.fault(key_at, "structure", format!("duplicate element `{}`", quotable(key)));
        }
        same.insert(position);
        if let Some(choice) = field.choice
            && (field.rivals.meets(&seen.plain) || field.rivals.meets(&seen.underscored))
        {
            self.fault(key_at, "structure", format!("more than one value for the choice `{choice}[x]`"))?;
        }
        if role == Role::Contained && name == b"contained" {
            self.skip()?;
            return self.fault(key_at, "structure", "a contained resource contains resources itself");
        }
        if underscored {
            self.sibling(field, position, key_at)
        } else {
            self.value(field, position, role, key_at)
        }
    }

    #[cold]
    fn unknown(&mut self, kind: &Type, key_at: usize, key: &[u8]) -> Result<(), Halt> {
        self.skip()?;
        self.fault(key_at, "structure", format!("unknown element `{}` in {}", quotable(key), kind.name))
    }

    /// A name that is not in the table: `resourceType`, or one that FHIR does not have here.
    fn other_member(
        &mut self,
        kind: &Type,
        role: Role,
        seen: &mut Seen,
        key_at: usize,
        key: &[u8],
    ) -> Result<(), Halt> {
        if key != b"resourceType" || matches!(role, Role::Element | Role::Meta) {
            return self.unknown(kind, key_at, key);
        }
        // Its value was read before the object was.
        self.skip()?;
        if std::mem::replace(&mut seen.resource_type, true) {
            return self.fault(key_at, "structure", "duplicate element `resourceType`");
        }
        Ok(())
    }

    fn value(&mut self, field: &'static Field, position: u16, role: Role, key_at: usize) -> Result<(), Halt> {
        match field.kind {
            Kind::Primitive(primitive) | Kind::Attribute(primitive) if !field.many => {
                let text = self.primitive(primitive, field.choice.is_none())?;
                if role <= Role::Meta {
                    self.remember(role, field.name, text);
                }
                Ok(())
            }
            Kind::Primitive(primitive) | Kind::Attribute(primitive) => {
                self.list(position, false, |check| check.primitive(primitive, false).map(drop))
            }
            Kind::Complex(id) if field.many => self.array(|check| check.object(id, Role::Element)),
            Kind::Complex(id) => {
                let is_meta = role == Role::Resource && field.name == "meta";
                self.object(id, if is_meta { Role::Meta } else { Role::Element })
            }
            Kind::Resource => {
                let role = if field.name == "contained" { Role::Contained } else { Role::Entry };
                if field.many {
                    self.array(|check| check.resource(role))?;
                } else {
                    self.resource(role)?;
                }
                self.findings.nested.push(Nested::Field { bytes: key_at..self.cursor.at });
                Ok(())
            }
        }
    }

    /// What stands behind `_x`: id and extensions of the primitive `x`.
    fn sibling(&mut self, field: &Field, position: u16, key_at: usize) -> Result<(), Halt> {
        if !matches!(field.kind, Kind::Primitive(_)) {
            self.skip()?;
            let text = format!("only a primitive has a `_` sibling, and `{}` is none", field.name);
            return self.fault(key_at, "structure", text);
        }
        let element = self.table.element;
        if field.many {
            return self.list(position, true, |check| check.object(element, Role::Element));
        }
        self.object(element, Role::Element)
    }

    #[inline]
    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Halt>) -> Result<(), Halt> {
        let start = self.cursor.at;
        if self.cursor.peek() != b'[' {
            return self.mismatch("an array");
        }
        if !self.cursor.open(b']') {
            return self.fault(start, "structure", "an empty array");
        }
        loop {
            item(self)?;
            if !self.cursor.next_item()? {
                return Ok(());
            }
        }
    }

    /// An array of primitives or of their siblings: null keeps a place for the other one.
    fn list(
        &mut self,
        field: u16,
        underscored: bool,
        mut item: impl FnMut(&mut Self) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let nulls = self.lists.begin();
        let mut length = 0;
        let faults = self.findings.faults.len();
        self.array(|check| {
            if check.cursor.peek() == b'n' && check.cursor.literal(b"null") {
                check.lists.null_at(length);
            } else {
                item(check)?;
            }
            length += 1;
            Ok(())
        })?;
        // A list that is no array was already refused: no second issue for its length.
        if length > 0 || self.findings.faults.len() == faults {
            self.lists.push(List { level: self.depth, field, underscored, length, ..List::default() }, nulls);
        }
        Ok(())
    }

    fn close_lists(&mut self, kind: &Type, start: usize) -> Result<(), Halt> {
        let faults = &mut self.findings.faults;
        self.lists.close(self.depth, |field, mismatch| {
            let text = format!("`{}` {mismatch}", kind.fields[field as usize].name);
            faults.push(Fault::new(start, "structure", text));
            if faults.len() < ISSUE_LIMIT { Ok(()) } else { Err(Halt::Enough) }
        })
    }

    fn remember(&mut self, role: Role, name: &str, text: Option<Text<'a>>) {
        let fact = match (role, name) {
            (Role::Resource, "id") => &mut self.findings.id,
            (Role::Meta, "versionId") => &mut self.findings.version_id,
            (Role::Meta, "lastUpdated") => &mut self.findings.last_updated,
            _ => return,
        };
        *fact = text;
    }
}

/// Which elements of one object were there.
#[derive(Default)]
struct Seen {
    plain: Fields,
    underscored: Fields,
    resource_type: bool,
}
