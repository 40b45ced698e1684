//! What R4 allows, as fhirbolt knows it: `r4.txt` in memory.
//!
//! The text is asked out of fhirbolt itself (`crates/fhirbolt-r4/tests/derive_table.rs` does it and compares),
//! so it is no second copy of the specification that could drift. A line without indentation opens a type, `*`
//! marks a resource; below it one line an element: name, type, `required..max`, and the choice it belongs to.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::index::NameIndex;
use super::primitive::Primitive;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Primitive(Primitive),
    Complex(u16),
    /// Any resource: `contained`, `Bundle.entry.resource`, `Parameters.parameter.resource`.
    Resource,
    /// `Element.id` and `Extension.url`: attributes in XML, strings without a `_` sibling in JSON.
    Attribute(Primitive),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) many: bool,
    /// `value` for `valueString` and its rivals.
    pub(super) choice: Option<&'static str>,
    /// The other elements of the same choice.
    pub(super) rivals: Fields,
}

/// At least one of `any_of` must be there: one element, or all names of a choice.
#[derive(Debug)]
pub(super) struct Required {
    pub(super) name: String,
    pub(super) any_of: Fields,
}

#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: &'static str,
    /// In the order of the specification, which is XML's.
    pub(super) fields: Vec<Field>,
    pub(super) required: Vec<Required>,
    index: NameIndex,
}

/// A set of fields of one type, by position. The largest type, ElementDefinition, has 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields([u64; 4]);

pub(super) struct Table {
    types: Vec<Type>,
    resources: Vec<u16>,
    resource_index: NameIndex,
    /// What stands behind `_x`: id and extension only.
    pub(super) element: u16,
}

static R4: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("r4.txt")));

impl Fields {
    #[inline]
    pub(super) fn contains(&self, field: u16) -> bool {
        self.0[field as usize / 64] & (1 << (field % 64)) != 0
    }

    #[inline]
    pub(super) fn insert(&mut self, field: u16) {
        self.0[field as usize / 64] |= 1 << (field % 64);
    }

    #[inline]
    pub(super) fn meets(&self, other: &Fields) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    #[inline]
    pub(super) fn union(&self, other: &Fields) -> Fields {
        Fields(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }
}

impl Type {
    fn new(name: &'static str) -> Self {
        Type { name, fields: Vec::new(), required: Vec::new(), index: NameIndex::default() }
    }

    #[inline]
    pub(super) fn field(&self, name: &[u8]) -> Option<u16> {
        self.index.find(name, |position| self.fields[position as usize].name.as_bytes())
    }

    /// Whether XML writes this one as an attribute.
    pub(super) fn has_attribute(&self, name: &str) -> bool {
        let field = self.field(name.as_bytes()).map(|position| &self.fields[position as usize]);
        field.is_some_and(|field| matches!(field.kind, Kind::Attribute(_)))
    }

    /// Once all elements are known: who excludes whom, what is required, where a name is found.
    fn finish(&mut self, required: &[bool]) {
        assert!(self.fields.len() <= 256, "{} has more elements than a set of them can hold", self.name);
        for position in 0..self.fields.len() {
            let Some(choice) = self.fields[position].choice else { continue };
            let mut rivals = Fields::default();
            for (other, field) in self.fields.iter().enumerate() {
                if other != position && field.choice == Some(choice) {
                    rivals.insert(other as u16);
                }
            }
            self.fields[position].rivals = rivals;
        }
        for (position, field) in self.fields.iter().enumerate().filter(|(position, _)| required[*position]) {
            let name = field.choice.map_or(field.name.to_owned(), |choice| format!("{choice}[x]"));
            match self.required.iter_mut().find(|one| one.name == name) {
                Some(one) => one.any_of.insert(position as u16),
                None => {
                    let mut any_of = Fields::default();
                    any_of.insert(position as u16);
                    self.required.push(Required { name, any_of });
                }
            }
        }
        self.index = NameIndex::of(self.fields.iter().map(|field| field.name));
    }
}

impl Table {
    pub(super) fn r4() -> &'static Table {
        &R4
    }

    #[inline]
    pub(super) fn get(&self, id: u16) -> &Type {
        &self.types[id as usize]
    }

    #[inline]
    pub(super) fn resource(&self, name: &[u8]) -> Option<u16> {
        let position = self
            .resource_index
            .find(name, |position| self.get(self.resources[position as usize]).name.as_bytes())?;
        Some(self.resources[position as usize])
    }

    fn parse(text: &'static str) -> Table {
        let blocks = blocks(text);
        let ids: HashMap<&str, u16> =
            blocks.iter().enumerate().map(|(id, block)| (block.name, id as u16)).collect();
        let mut types: Vec<Type> = Vec::with_capacity(blocks.len() + 1);
        for block in &blocks {
            let mut kind = Type::new(block.name);
            let mut required = Vec::with_capacity(block.lines.len());
            for line in &block.lines {
                let words: Vec<&str> = line.split(' ').collect();
                required.push(words[2].starts_with('1'));
                kind.fields.push(Field {
                    name: words[0],
                    kind: kind_of(words[0], words[1], &ids),
                    many: words[2].ends_with('*'),
                    choice: words.get(3).copied(),
                    rivals: Fields::default(),
                });
            }
            kind.finish(&required);
            types.push(kind);
        }
        let element = types.len() as u16;
        types.push(element_type(ids["Extension"]));
        let resources: Vec<u16> =
            (0u16..).zip(&blocks).filter(|(_, block)| block.is_resource).map(|(id, _)| id).collect();
        let resource_index = NameIndex::of(resources.iter().map(|id| types[*id as usize].name));
        Table { types, resources, resource_index, element }
    }
}

struct Block {
    name: &'static str,
    is_resource: bool,
    lines: Vec<&'static str>,
}

fn blocks(text: &'static str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix(' ') {
            Some(element) => blocks.last_mut().expect("r4.txt opens with a type").lines.push(element),
            None => blocks.push(Block {
                name: line.trim_start_matches('*'),
                is_resource: line.starts_with('*'),
                lines: Vec::new(),
            }),
        }
    }
    blocks
}

fn kind_of(element: &str, named: &str, ids: &HashMap<&str, u16>) -> Kind {
    match (named, Primitive::named(named)) {
        ("Resource", _) => Kind::Resource,
        ("@string", _) if element == "url" => Kind::Attribute(Primitive::Uri),
        ("@string", _) => Kind::Attribute(Primitive::String),
        (_, Some(primitive)) => Kind::Primitive(primitive),
        (complex, None) => Kind::Complex(ids[complex]),
    }
}

fn element_type(extension: u16) -> Type {
    let field = |name, kind, many| Field { name, kind, many, choice: None, rivals: Fields::default() };
    let mut element = Type::new("Element");
    element.fields = vec![
        field("id", Kind::Attribute(Primitive::String), false),
        field("extension", Kind::Complex(extension), true),
    ];
    element.finish(&[false, false]);
    element
}
