//! Elements of one name that stand together: one member of JSON, two where primitives have extensions.

use super::output;
use crate::validate::primitive::Primitive;
use crate::validate::table::{Kind, Type};

pub(super) struct Run {
    pub(super) position: u16,
    pub(super) count: usize,
    /// Repeated primitives: what is to stand in `x` and in `_x`.
    values: Vec<u8>,
    siblings: Vec<u8>,
    any_value: bool,
    any_sibling: bool,
}

impl Run {
    pub(super) fn new(position: u16) -> Self {
        Run {
            position,
            count: 1,
            values: Vec::new(),
            siblings: Vec::new(),
            any_value: false,
            any_sibling: false,
        }
    }

    /// One more primitive; null keeps the place of what it does not have.
    pub(super) fn add(&mut self, primitive: Primitive, value: Option<&str>, sibling: Option<&[u8]>) {
        if self.count > 1 {
            self.values.push(b',');
            self.siblings.push(b',');
        }
        match value {
            Some(value) => output::primitive(&mut self.values, primitive, value),
            None => self.values.extend_from_slice(b"null"),
        }
        self.siblings.extend_from_slice(sibling.unwrap_or(b"null"));
        self.any_value |= value.is_some();
        self.any_sibling |= sibling.is_some();
    }

    /// Ends what the run opened.
    pub(super) fn close(self, kind: &Type, out: &mut Vec<u8>) {
        let field = &kind.fields[self.position as usize];
        if !matches!(field.kind, Kind::Primitive(_)) {
            out.extend_from_slice(if field.many { b"]" } else { b"" });
            return;
        }
        let (open, close): (&[u8], &[u8]) = if field.many { (b"[", b"]") } else { (b"", b"") };
        for (prefix, any, written) in
            [("", self.any_value, &self.values), ("_", self.any_sibling, &self.siblings)]
        {
            if any {
                output::key(out, prefix, field.name);
                out.extend([open, written, close].concat());
            }
        }
    }
}
