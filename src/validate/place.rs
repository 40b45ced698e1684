//! From a byte to the words a sender understands: line, column and FHIRPath.
//!
//! The check keeps no path while it runs; only a refused resource is walked a second time, once for all its
//! faults.

use super::issue::{Fault, Issue, quotable};
use super::scan::{Cursor, Halt};
use super::table::{Kind, Table};
use super::text::Text;

/// Deeper than anything that was checked: the walk follows the check and must not stop before it.
const DEPTH: u32 = 400;

/// The issues for `faults`, in the order of their places.
pub(super) fn issues(bytes: &[u8], mut faults: Vec<Fault>) -> Vec<Issue> {
    faults.sort_by_key(|fault| fault.at);
    let places: Vec<usize> = faults.iter().map(|fault| fault.at).collect();
    let expressions = expressions(bytes, &places);
    let mut lines = Lines { bytes, at: 0, line: 1, column: 1 };
    faults
        .into_iter()
        .zip(expressions)
        .map(|(fault, expression)| {
            lines.advance(fault.at);
            let (line, column) = (Some(lines.line), Some(lines.column));
            Issue { code: fault.code, diagnostics: fault.text, expression, line, column }
        })
        .collect()
}

/// Where bytes, in ascending order, lie for a reader: both from 1, the column in characters.
pub(super) fn lines_and_columns(bytes: &[u8], places: impl Iterator<Item = usize>) -> Vec<(u32, u32)> {
    let mut lines = Lines { bytes, at: 0, line: 1, column: 1 };
    places
        .map(|at| {
            lines.advance(at);
            (lines.line, lines.column)
        })
        .collect()
}

/// The byte that a line and a column, counted in bytes from 1, stand for.
pub(super) fn byte_at(bytes: &[u8], line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        _ => {
            let mut ends = bytes.iter().enumerate().filter(|(_, c)| **c == b'\n').map(|(at, _)| at + 1);
            ends.nth(line - 2).unwrap_or(bytes.len())
        }
    };
    (start + column.saturating_sub(1)).min(bytes.len())
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    column: u32,
}

impl Lines<'_> {
    fn advance(&mut self, to: usize) {
        let to = to.clamp(self.at, self.bytes.len());
        for c in &self.bytes[self.at..to] {
            match c {
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                // Continuation bytes of UTF-8 are no character of their own.
                0x80..=0xBF => {}
                _ => self.column += 1,
            }
        }
        self.at = to;
    }
}

/// For each of the ascending `places` the path of the element it lies in.
fn expressions(bytes: &[u8], places: &[usize]) -> Vec<Option<String>> {
    let mut walk = Walk {
        cursor: Cursor::new(bytes),
        table: Table::r4(),
        path: Vec::new(),
        places,
        found: Vec::with_capacity(places.len()),
    };
    walk.cursor.white_space();
    // However the walk ends, where it stands is the best that can be said of the rest.
    let _ = walk.value(Some(Kind::Resource), DEPTH);
    walk.mark(usize::MAX);
    walk.found
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    table: &'static Table,
    path: Vec<Step>,
    places: &'a [usize],
    found: Vec<Option<String>>,
}

enum Step {
    Name(String),
    Item(usize),
    /// A name no FHIRPath could hold: the path ends before it.
    Unnameable,
}

impl Walk<'_> {
    /// All places before `end` that are still open lie in the element that the walk is at.
    fn mark(&mut self, end: usize) {
        while self.places.get(self.found.len()).is_some_and(|place| *place < end) {
            let path = self.render();
            self.found.push(path);
        }
    }

    /// Marks up to the cursor; an early end once nothing is left to find.
    fn passed(&mut self) -> Result<(), Halt> {
        self.mark(self.cursor.at);
        if self.found.len() == self.places.len() { Err(Halt::Enough) } else { Ok(()) }
    }

    fn render(&self) -> Option<String> {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if text.is_empty() => text.push_str(name),
                Step::Name(name) => text.extend([".", name]),
                Step::Item(position) => text.push_str(&format!("[{position}]")),
                Step::Unnameable => break,
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn value(&mut self, kind: Option<Kind>, depth: u32) -> Result<(), Halt> {
        if depth == 0 {
            return Err(Halt::TooDeep { at: self.cursor.at });
        }
        match self.cursor.peek() {
            b'{' => self.object(kind, depth - 1),
            b'[' => {
                let mut more = self.cursor.open(b']');
                self.passed()?;
                let mut position = 0;
                while more {
                    self.path.push(Step::Item(position));
                    self.value(kind, depth - 1)?;
                    self.path.pop();
                    position += 1;
                    more = self.cursor.next_item()?;
                }
                self.passed()
            }
            _ => {
                self.cursor.skip(0)?;
                self.passed()
            }
        }
    }

    fn object(&mut self, kind: Option<Kind>, depth: u32) -> Result<(), Halt> {
        let id = match kind {
            Some(Kind::Complex(id)) => Some(id),
            Some(Kind::Primitive(_)) => Some(self.table.element),
            Some(Kind::Resource) => self.resource(depth),
            _ => None,
        };
        let any = self.cursor.open(b'}');
        self.passed()?;
        if !any {
            return Ok(());
        }
        loop {
            let key = self.cursor.key()?;
            let (step, kind) = self.step(id, key);
            self.path.push(step);
            // The value begins where the cursor is; it is marked with the rest of it.
            self.passed()?;
            self.value(kind, depth)?;
            self.path.pop();
            if !self.cursor.next_member()? {
                return self.passed();
            }
        }
    }

    /// The type of the resource that opens here; the outermost one gives the path its first step.
    fn resource(&mut self, depth: u32) -> Option<u16> {
        let name = self.cursor.resource_type(depth).ok().flatten()?.to_text();
        let id = self.table.resource(name.as_bytes());
        if self.path.is_empty() {
            self.path.push(named(name.as_bytes()));
        }
        id
    }

    fn step(&self, id: Option<u16>, key: Text<'_>) -> (Step, Option<Kind>) {
        let text = key.to_text();
        let name = text.strip_prefix('_').unwrap_or(&text);
        let known = id.map(|id| self.table.get(id));
        let Some(field) = known.and_then(|kind| Some(&kind.fields[kind.field(name.as_bytes())? as usize]))
        else {
            return (named(name.as_bytes()), None);
        };
        (Step::Name(field.choice.unwrap_or(field.name).to_owned()), Some(field.kind))
    }
}

fn named(name: &[u8]) -> Step {
    let identifier = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_');
    if identifier { Step::Name(quotable(name)) } else { Step::Unnameable }
}
