//! From fhirbolt's answers to the table: for each type its elements, their types, what is required, what may
//! repeat and what excludes what.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use fhirbolt::element::Value;

use crate::probe::{Answer, Body, Place, R4Value, boolean, of, string};

#[derive(Clone)]
struct Field {
    name: String,
    /// `Resource`, `@string` for a plain string, `@value` for a primitive's value, else the model's struct.
    kind: String,
    many: bool,
    required: bool,
    choice: String,
}

struct Type {
    place: Place,
    fields: Vec<Field>,
    /// The least that fhirbolt takes.
    minimal: Body,
}

#[derive(Default)]
struct Derivation {
    types: BTreeMap<String, Type>,
}

pub(crate) fn table(resource_types: &[&str]) -> String {
    let mut derivation = Derivation::default();
    for resource in resource_types {
        derivation.discover(resource, Place { root: (*resource).to_owned(), path: Vec::new() });
    }
    for name in derivation.types.keys().cloned().collect::<Vec<_>>() {
        let cardinalities = derivation.cardinalities(&name);
        let choices = derivation.choices(&name, &cardinalities);
        for ((field, many), choice) in
            derivation.types.get_mut(&name).unwrap().fields.iter_mut().zip(cardinalities).zip(choices)
        {
            (field.many, field.choice) = (many, choice);
        }
    }
    derivation.print(resource_types)
}

impl Derivation {
    /// A type's names, types and requirements, after those of the types in it.
    fn discover(&mut self, name: &str, place: Place) {
        let mut fields: Vec<Field> = place.names().into_iter().map(|field| field_of(&place, field)).collect();
        // Entered before its elements are followed: types contain themselves.
        self.types.insert(
            name.to_owned(),
            Type { place: place.clone(), fields: fields.clone(), minimal: Body::new() },
        );
        for field in &fields {
            let is_type = field.kind != "Resource" && !field.kind.starts_with('@');
            if is_type && !self.types.contains_key(&field.kind) {
                self.discover(&field.kind, place.inside(&field.name));
            }
        }
        let mut minimal = Body::new();
        while let Answer::Missing { name: missing } = place.ask(minimal.clone()) {
            let answers = |field: &Field| match missing.strip_suffix("[x]") {
                Some(choice) => field
                    .name
                    .strip_prefix(choice)
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_uppercase())),
                None => field.name == missing,
            };
            let given = fields.iter().find(|field| answers(field)).expect("a missing field has a name");
            assert!(
                minimal.iter().all(|(there, _)| *there != given.name),
                "{name}.{missing} missing though given"
            );
            minimal.push((given.name.clone(), self.value(&given.kind)));
            fields.iter_mut().filter(|field| answers(field)).for_each(|field| field.required = true);
        }
        self.types.insert(name.to_owned(), Type { place, fields, minimal });
    }

    /// Something of a type that fhirbolt takes.
    fn value(&self, kind: &str) -> R4Value {
        match kind {
            "@string" | "@value" => string("x"),
            "Resource" => of(vec![("resourceType".to_owned(), string("Parameters"))]),
            name => of(self.types[name].minimal.clone()),
        }
    }

    /// For each field whether it may repeat: a single one answers an array with "duplicate field".
    fn cardinalities(&self, name: &str) -> Vec<bool> {
        let Type { place, fields, .. } = &self.types[name];
        let repeats = |field: &Field| match self.value(&field.kind) {
            Value::Element(one) => {
                let two = Value::Sequence(vec![one.clone(), one]);
                match place.ask(vec![(field.name.clone(), two)]) {
                    Answer::Duplicate => false,
                    Answer::Taken | Answer::Missing { .. } => true,
                    other => panic!("{name}.{}: {other:?}", field.name),
                }
            }
            _ => false,
        };
        fields.iter().map(repeats).collect()
    }

    /// For each field the choice it belongs to: rivals answer each other's presence with "duplicate field".
    fn choices(&self, name: &str, many: &[bool]) -> Vec<String> {
        let Type { place, fields, .. } = &self.types[name];
        let mut choices: HashMap<usize, &str> = HashMap::new();
        for (i, one) in fields.iter().enumerate() {
            for (j, other) in fields.iter().enumerate().skip(i + 1) {
                let Some(prefix) = common_prefix(&one.name, &other.name) else { continue };
                if many[i] || many[j] {
                    continue;
                }
                let both = [one, other].map(|field| (field.name.clone(), self.value(&field.kind)));
                if place.ask(both.to_vec()) != Answer::Duplicate {
                    continue;
                }
                for field in [i, j] {
                    let choice = choices.entry(field).or_insert(prefix);
                    if prefix.len() < choice.len() {
                        *choice = prefix;
                    }
                }
            }
        }
        (0..fields.len()).map(|field| choices.get(&field).copied().unwrap_or_default().to_owned()).collect()
    }

    fn print(&self, resource_types: &[&str]) -> String {
        let mut text = String::new();
        for (name, Type { fields, .. }) in self.types.iter().filter(|(_, kind)| !kind.is_primitive()) {
            let mark = if resource_types.contains(&name.as_str()) { "*" } else { "" };
            writeln!(text, "{mark}{name}").unwrap();
            for Field { name, kind, many, required, choice } in fields {
                let (least, most) = (u8::from(*required), if *many { "*" } else { "1" });
                let line = format!(" {name} {kind} {least}..{most} {choice}");
                writeln!(text, "{}", line.trim_end()).unwrap();
            }
        }
        text
    }
}

impl Type {
    /// fhirbolt models a primitive as a struct of id, extension and, last, value.
    fn is_primitive(&self) -> bool {
        self.fields.len() <= 3 && self.fields.last().is_some_and(|field| field.name == "value")
    }
}

/// A boolean is the wrong thing everywhere but in a primitive's value, so the answer names the right one.
fn field_of(place: &Place, name: String) -> Field {
    let kind = match place.ask(vec![(name.clone(), boolean())]) {
        Answer::WrongType { expected } => match expected.as_str() {
            "an element" | "a resource" => "Resource".to_owned(),
            "a string" | "a borrowed string" => "@string".to_owned(),
            _ => expected,
        },
        // The value of the primitives themselves, which are not printed.
        Answer::Taken | Answer::Other(_) => "@value".to_owned(),
        other => panic!("{}{:?}.{name}: {other:?}", place.root, place.path),
    };
    Field { name, kind, many: false, required: false, choice: String::new() }
}

/// What two names share before both go on with a capital: `value` of `valueString` and `valueInteger`.
fn common_prefix<'n>(one: &'n str, other: &str) -> Option<&'n str> {
    let shared = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let goes_on = |name: &str, at: usize| name[at..].starts_with(|c: char| c.is_uppercase());
    (1..=shared).rev().find(|at| goes_on(one, *at) && goes_on(other, *at)).map(|at| &one[..at])
}
