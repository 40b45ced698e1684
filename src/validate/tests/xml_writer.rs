//! JSON as XML, the other way round than the service needs it: so that every example is an example of XML too.

use serde_json::{Map, Value};

use crate::validate::primitive::Primitive;
use crate::validate::table::{Kind, Table, Type};

pub(super) fn to_xml(resource: &Value) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    write_resource(&mut xml, resource, " xmlns=\"http://hl7.org/fhir\"");
    xml
}

fn write_resource(xml: &mut String, resource: &Value, namespace: &str) {
    let name = resource["resourceType"].as_str().unwrap();
    let kind = Table::r4().get(Table::r4().resource(name.as_bytes()).unwrap());
    *xml += &format!("<{name}{namespace}>\n");
    write_members(xml, kind, resource.as_object().unwrap());
    *xml += &format!("</{name}>\n");
}

fn write_members(xml: &mut String, kind: &Type, object: &Map<String, Value>) {
    let nothing = Value::Null;
    for field in &kind.fields {
        let sibling = object.get(&format!("_{}", field.name)).unwrap_or(&nothing);
        let value = object.get(field.name).unwrap_or(&nothing);
        let count = [value, sibling].map(|value| value.as_array().map_or(1, Vec::len));
        if matches!(field.kind, Kind::Attribute(_)) || (value.is_null() && sibling.is_null()) {
            continue;
        }
        for item in 0..count[0].max(count[1]) {
            let [value, sibling] = [value, sibling].map(|value| value.get(item).unwrap_or(value));
            write_element(xml, field.name, field.kind, value, sibling);
        }
    }
}

fn write_element(xml: &mut String, name: &str, kind: Kind, value: &Value, sibling: &Value) {
    let (text, kind) = match kind {
        Kind::Primitive(Primitive::Xhtml) => {
            *xml += value.as_str().unwrap();
            return;
        }
        Kind::Resource => {
            *xml += &format!("<{name}>");
            write_resource(xml, value, "");
            *xml += &format!("</{name}>\n");
            return;
        }
        Kind::Complex(id) => (None, Table::r4().get(id)),
        _ => (Some(value), Table::r4().get(Table::r4().element)),
    };
    let body = if text.is_some() { sibling } else { value };
    *xml += &format!("<{name}");
    write_attribute(xml, "id", &body["id"]);
    if kind.has_attribute("url") {
        write_attribute(xml, "url", &body["url"]);
    }
    write_attribute(xml, "value", text.unwrap_or(&Value::Null));
    *xml += ">";
    if let Some(body) = body.as_object() {
        write_members(xml, kind, body);
    }
    *xml += &format!("</{name}>\n");
}

fn write_attribute(xml: &mut String, name: &str, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    *xml += &format!(" {name}=\"");
    for character in text.chars() {
        match character {
            '"' => *xml += "&quot;",
            '&' => *xml += "&amp;",
            '<' => *xml += "&lt;",
            '\n' | '\r' | '\t' => *xml += &format!("&#{};", character as u32),
            _ => xml.push(character),
        }
    }
    *xml += "\"";
}
