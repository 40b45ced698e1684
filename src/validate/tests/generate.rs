//! Valid resources of any type, grown at random from the table.

use serde_json::{Map, Number, Value, json};

use crate::validate::primitive::Primitive;
use crate::validate::table::{Field, Fields, Kind, Table, Type};

/// A small generator of its own, so that one seed is one resource.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

pub(super) fn resource(dice: &mut Dice, names: &[&str], depth: usize) -> Value {
    let name = names[dice.below(names.len())];
    let kind = Table::r4().get(Table::r4().resource(name.as_bytes()).unwrap());
    let mut object = object(dice, names, kind, depth);
    if depth == 0 || object.get("contained").is_none() {
        object.shift_remove("contained");
    }
    let at = dice.below(object.len() + 1);
    object.shift_insert(at, "resourceType".to_owned(), json!(name));
    Value::Object(object)
}

fn object(dice: &mut Dice, names: &[&str], kind: &Type, depth: usize) -> Map<String, Value> {
    let mut object = Map::new();
    let mut present = Fields::default();
    for (position, field) in (0u16..).zip(&kind.fields) {
        let needed =
            kind.required.iter().any(|one| one.any_of.contains(position) && !one.any_of.meets(&present));
        let wanted = dice.one_in(if depth > 0 { 8 } else { 40 }) && (depth > 0 || is_small(field));
        if (needed || wanted) && !field.rivals.meets(&present) {
            present.insert(position);
            member(dice, names, &mut object, field, depth);
        }
    }
    if object.is_empty() {
        // Every type has an id: an attribute, or a resource's own.
        object.insert("id".to_owned(), json!("only"));
    }
    object
}

fn is_small(field: &Field) -> bool {
    matches!(field.kind, Kind::Primitive(_) | Kind::Attribute(_))
}

fn member(dice: &mut Dice, names: &[&str], object: &mut Map<String, Value>, field: &Field, depth: usize) {
    let depth = depth.saturating_sub(1);
    let length = 1 + dice.below(3);
    let mut values = Vec::new();
    let mut siblings = Vec::new();
    for _ in 0..length {
        let (value, sibling) = match field.kind {
            Kind::Complex(id) => {
                (Value::Object(self::object(dice, names, Table::r4().get(id), depth)), Value::Null)
            }
            Kind::Resource => (resource(dice, &["Basic", "Patient", "Observation"], 0), Value::Null),
            Kind::Attribute(primitive) => (self::primitive(dice, primitive), Value::Null),
            Kind::Primitive(Primitive::Xhtml) => (json!(DIV), Value::Null),
            Kind::Primitive(primitive) => match dice.below(8) {
                0 => {
                    (Value::Null, json!({"id": "only an id", "extension": [{"url": "u", "valueCode": "c"}]}))
                }
                1 => (self::primitive(dice, primitive), json!({"id": "beside"})),
                _ => (self::primitive(dice, primitive), Value::Null),
            },
        };
        values.push(value);
        siblings.push(sibling);
    }
    for (name, mut items) in [(field.name.to_owned(), values), (format!("_{}", field.name), siblings)] {
        let value = if field.many { Value::Array(items.clone()) } else { items.swap_remove(0) };
        if !(value.is_null() || (field.many && items.iter().all(Value::is_null))) {
            object.insert(name, value);
        }
    }
}

const DIV: &str = "<div xmlns=\"http://www.w3.org/1999/xhtml\" class='a'>one <b>two</b>\r\n <!-- c -->&amp;&#160;é<br/></div>";

fn primitive(dice: &mut Dice, primitive: Primitive) -> Value {
    let number = |text: &str| Value::Number(text.parse::<Number>().unwrap());
    let mut pick = |choices: &[&str]| choices[dice.below(choices.len())].to_owned();
    match primitive {
        Primitive::Boolean => Value::Bool(pick(&["true", "false"]) == "true"),
        Primitive::Decimal => {
            number(&pick(&["1.50", "-0.0010", "100", "3.141592653589793238462643", "1E-7", "0"]))
        }
        Primitive::Integer => number(&pick(&["-2147483648", "0", "7", "2147483647"])),
        Primitive::PositiveInt => number(&pick(&["1", "2147483647"])),
        Primitive::UnsignedInt => number(&pick(&["0", "2147483647"])),
        Primitive::Base64Binary => json!(pick(&["YQ==", "YWJj", "ab/+"])),
        Primitive::Canonical | Primitive::Uri | Primitive::Url => {
            json!(pick(&["http://x.org/a|1", "urn:x:é", "u?a=b&c='d'"]))
        }
        Primitive::Code => json!(pick(&["a", "a b c", "<&>", "ä"])),
        Primitive::Date => json!(pick(&["2024", "2024-02", "2024-02-29"])),
        Primitive::DateTime => {
            json!(pick(&["2024", "2024-02-29T23:59:60.123456789Z", "2024-01-01T00:00:00-14:00"]))
        }
        Primitive::Id => json!(pick(&["a", "A-1.b"])),
        Primitive::Instant => json!(pick(&["2024-02-29T00:00:00Z", "0001-01-01T00:00:00.5+13:59"])),
        Primitive::Markdown | Primitive::String => {
            json!(pick(&["a", " a\tb\r\nc\"\\ ", "é😀\u{7f}", "<b>&amp;</b>", "]]>"]))
        }
        Primitive::Oid => json!("urn:oid:1.2.0"),
        Primitive::Time => json!(pick(&["00:00:00", "23:59:59.999"])),
        Primitive::Uuid => json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        Primitive::Xhtml => json!(DIV),
    }
}
