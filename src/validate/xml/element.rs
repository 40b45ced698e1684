//! Elements become members: a resource, what is inside of it, and the runs of equal names that are JSON's arrays.

use std::fmt::Write;

use quick_xml::events::BytesStart;

use super::attributes::Attributes;
use super::run::Run;
use super::source::{Node, Source};
use super::{Answer, FHIR, Noted, Severity, Wrong, XHTML, invalid, malformed, narrative, output, too_deep};
use crate::validate::issue::{ISSUE_LIMIT, quotable};
use crate::validate::primitive::Primitive;
use crate::validate::table::{Field, Kind, Table, Type};

pub(super) struct Converter<'a> {
    source: Source<'a>,
    table: &'static Table,
    pub(super) out: Vec<u8>,
    pub(super) noted: Vec<Noted>,
    /// Where the conversion is; when it fails, where it failed.
    path: Vec<Step>,
    depth: u32,
    max_depth: u32,
}

struct Step {
    name: &'static str,
    item: Option<usize>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(text: &'a str, max_depth: u32) -> Self {
        Converter {
            source: Source::new(text),
            table: Table::r4(),
            out: Vec::with_capacity(text.len()),
            noted: Vec::new(),
            path: Vec::new(),
            depth: 0,
            max_depth,
        }
    }

    fn path(&self) -> Option<String> {
        let mut path = String::new();
        for step in &self.path {
            let dot = if path.is_empty() { "" } else { "." };
            let written = match step.item {
                Some(item) => write!(path, "{dot}{}[{item}]", step.name),
                None => write!(path, "{dot}{}", step.name),
            };
            written.expect("a String takes every character");
        }
        (!path.is_empty()).then_some(path)
    }

    #[cold]
    pub(super) fn note(&mut self, wrong: Box<Wrong>) {
        let path = self.path();
        self.noted.push(Noted(wrong, path));
    }

    /// What can be lived with is noted, and there is no `T`; the last that is reported ends the conversion.
    #[inline]
    fn tolerate<T>(&mut self, answer: Answer<T>) -> Answer<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(wrong) if wrong.kind == Severity::Recoverable && self.noted.len() + 1 < ISSUE_LIMIT => {
                self.note(wrong);
                Ok(None)
            }
            Err(wrong) => Err(wrong),
        }
    }

    fn skip(&mut self) -> Answer<()> {
        self.source.skip(2 * self.max_depth)
    }

    /// Notes unless `fine`.
    #[inline]
    fn expect(&mut self, fine: bool, at: usize, text: impl FnOnce() -> String) -> Answer<()> {
        if fine { Ok(()) } else { self.tolerate::<()>(invalid(at, text())).map(drop) }
    }

    fn attributes<'t>(&mut self, tag: &'t BytesStart<'_>) -> Answer<Attributes<'t>> {
        let found = Attributes::of(&self.source, tag)?;
        if let Some(name) = &found.unknown {
            self.expect(false, self.source.at, || format!("unknown attribute `{name}`"))?;
        }
        Ok(found)
    }

    /// The root, and nothing after it.
    pub(super) fn document(&mut self) -> Answer<()> {
        let Node::Start(root) = self.source.node()? else {
            return malformed(self.source.at, "the document ends before a resource begins");
        };
        self.resource(&root)?;
        match self.source.node()? {
            Node::Eof => Ok(()),
            _ => malformed(self.source.at, "something follows the resource"),
        }
    }

    fn resource(&mut self, tag: &BytesStart<'_>) -> Answer<()> {
        let at = self.source.at;
        let known = self.expect_namespace(tag, FHIR).and_then(|()| {
            match self.table.resource(tag.local_name().as_ref().as_bytes()) {
                Some(id) => Ok(id),
                None => invalid(at, "the element names no resource type of R4"),
            }
        });
        let Some(id) = self.tolerate(known)? else { return self.skip() };
        let kind = self.table.get(id);
        if self.path.is_empty() {
            self.path.push(Step { name: kind.name, item: None });
        }
        let none = self.attributes(tag)?.none();
        self.expect(none, at, || "a resource has no attributes: its id is an element".into())?;
        self.out.push(b'{');
        output::key(&mut self.out, "", "resourceType");
        output::string(&mut self.out, kind.name);
        self.deeper(|converter| converter.members(kind))?;
        self.out.push(b'}');
        Ok(())
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self) -> Answer<()>) -> Answer<()> {
        if self.depth == self.max_depth {
            return too_deep(self.source.at);
        }
        self.depth += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn expect_namespace(&self, tag: &BytesStart<'_>, namespace: &str) -> Answer<()> {
        match self.source.namespace_of(tag.name()) == Some(namespace) {
            true => Ok(()),
            false => invalid(self.source.at, format!("an element outside of the namespace {namespace}")),
        }
    }

    /// The children up to the end tag, as members of the object that is open.
    fn members(&mut self, kind: &'static Type) -> Answer<()> {
        let mut run: Option<Run> = None;
        loop {
            let tag = match self.source.node()? {
                Node::Start(tag) => tag,
                Node::End => break,
                Node::Eof => return malformed(self.source.at, "the document ends early"),
            };
            let found = self.field(kind, &tag);
            let Some((position, field)) = self.tolerate(found)? else {
                self.skip()?;
                continue;
            };
            self.path.push(Step { name: field.choice.unwrap_or(field.name), item: None });
            match &mut run {
                Some(open) if open.position == position => open.count += 1,
                _ => {
                    let in_order = self.in_order(kind, run.as_ref(), position);
                    self.tolerate(in_order)?;
                    if let Some(open) = run.replace(Run::new(position)) {
                        open.close(kind, &mut self.out);
                    }
                }
            }
            let open = run.as_mut().expect("a run is open");
            self.child(field, open, &tag)?;
            self.path.pop();
        }
        if let Some(open) = run {
            open.close(kind, &mut self.out);
        }
        Ok(())
    }

    fn field(&self, kind: &'static Type, tag: &BytesStart<'_>) -> Answer<(u16, &'static Field)> {
        let name = tag.local_name();
        let position = kind.field(name.as_ref().as_bytes());
        match position.map(|position| (position, &kind.fields[position as usize])) {
            Some((position, field)) if !matches!(field.kind, Kind::Attribute(_)) => {
                let narrative = field.kind == Kind::Primitive(Primitive::Xhtml);
                self.expect_namespace(tag, if narrative { XHTML } else { FHIR })?;
                Ok((position, field))
            }
            _ => {
                let name = quotable(name.as_ref().as_bytes());
                invalid(self.source.at, format!("unknown element `{name}` in {}", kind.name))
            }
        }
    }

    /// XML has the order of the specification; a name that comes back stands apart from its like.
    fn in_order(&self, kind: &'static Type, before: Option<&Run>, position: u16) -> Answer<()> {
        let Some(before) = before.map(|run| run.position) else { return Ok(()) };
        let (field, last) = (&kind.fields[position as usize], &kind.fields[before as usize]);
        if let Some(choice) = field.choice.filter(|_| field.rivals.contains(before)) {
            return invalid(self.source.at, format!("more than one value for the choice `{choice}[x]`"));
        }
        if position < before {
            let text = format!("element `{}` is out of order: it stands after `{}`", field.name, last.name);
            return invalid(self.source.at, text);
        }
        Ok(())
    }

    fn child(&mut self, field: &'static Field, run: &mut Run, tag: &BytesStart<'_>) -> Answer<()> {
        if field.many {
            self.path.last_mut().expect("the child's step is there").item = Some(run.count - 1);
        } else {
            self.expect(run.count == 1, self.source.at, || format!("element `{}` comes twice", field.name))?;
        }
        if let Kind::Primitive(primitive) = field.kind {
            return self.primitive(field, primitive, run, tag);
        }
        if run.count == 1 {
            output::key(&mut self.out, "", field.name);
            self.out.extend_from_slice(if field.many { b"[" } else { b"" });
        } else {
            output::comma(&mut self.out);
        }
        match field.kind {
            Kind::Complex(id) => self.complex(self.table.get(id), tag),
            _ => self.holder(tag),
        }
    }

    fn complex(&mut self, kind: &'static Type, tag: &BytesStart<'_>) -> Answer<()> {
        let at = self.source.at;
        let attributes = self.attributes(tag)?;
        let stray_url = attributes.url.is_some() && !kind.has_attribute("url");
        let fitting = attributes.value.is_none() && !stray_url;
        self.expect(fitting, at, || format!("an attribute that {} does not have", kind.name))?;
        let (start, noted) = (self.out.len(), self.noted.len());
        self.out.push(b'{');
        for (name, value) in [("id", &attributes.id), ("url", &attributes.url)] {
            if let Some(value) = value {
                output::key(&mut self.out, "", name);
                output::string(&mut self.out, value);
            }
        }
        self.deeper(|converter| converter.members(kind))?;
        // What was skipped inside is an issue of its own.
        let empty = self.out.len() == start + 1 && self.noted.len() == noted;
        self.expect(!empty, at, || "an empty element".into())?;
        self.out.push(b'}');
        Ok(())
    }

    /// `contained` and the like hold exactly one resource and nothing else.
    fn holder(&mut self, tag: &BytesStart<'_>) -> Answer<()> {
        let at = self.source.at;
        let none = self.attributes(tag)?.none();
        self.expect(none, at, || "an attribute on an element that only holds a resource".into())?;
        let mut resources = 0;
        loop {
            match self.source.node()? {
                Node::Start(resource) if resources == 0 => self.resource(&resource)?,
                Node::Start(_) => {
                    let said = resources > 1;
                    self.expect(said, self.source.at, || "more than one resource in one element".into())?;
                    self.skip()?;
                }
                Node::End => break,
                Node::Eof => return malformed(self.source.at, "the document ends early"),
            }
            resources += 1;
        }
        self.expect(resources > 0, at, || "an empty element, where a resource belongs".into())
    }

    fn primitive(
        &mut self,
        field: &'static Field,
        primitive: Primitive,
        run: &mut Run,
        tag: &BytesStart<'_>,
    ) -> Answer<()> {
        if primitive == Primitive::Xhtml {
            let div = narrative::read(&mut self.source, tag);
            if let Some(div) = self.tolerate(div)? {
                output::key(&mut self.out, "", field.name);
                output::string(&mut self.out, &div);
            }
            return Ok(());
        }
        let at = self.source.at;
        let attributes = self.attributes(tag)?;
        self.expect(attributes.url.is_none(), at, || "an attribute that a primitive does not have".into())?;
        let noted = self.noted.len();
        let sibling = self.sibling(attributes.id.as_deref())?;
        let empty = attributes.value.is_none() && sibling.is_none() && self.noted.len() == noted;
        self.expect(!empty, at, || "an empty element".into())?;
        run.add(primitive, attributes.value.as_deref(), sibling.as_deref());
        Ok(())
    }

    /// The id and the extensions of a primitive, up to its end tag: what stands behind `_x`, if there are any.
    fn sibling(&mut self, id: Option<&str>) -> Answer<Option<Vec<u8>>> {
        let outer = std::mem::take(&mut self.out);
        if let Some(id) = id {
            output::key(&mut self.out, "", "id");
            output::string(&mut self.out, id);
        }
        let element = self.table.get(self.table.element);
        // What is inside of an extension counts as a level, not the place it hangs from.
        self.members(element)?;
        let members = std::mem::replace(&mut self.out, outer);
        Ok((!members.is_empty()).then(|| [b"{", members.as_slice(), b"}"].concat()))
    }
}
