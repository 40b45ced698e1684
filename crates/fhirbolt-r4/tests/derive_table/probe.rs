//! Questions to fhirbolt. Its typed model answers a wrong element with an error that names what it wanted:
//! "unknown field …, expected one of …", "invalid type: boolean, expected HumanName", "duplicate field",
//! "missing field".

use fhirbolt::FhirReleases;
use fhirbolt::element::{Element, Primitive, Value, from_element};
use fhirbolt::model::r4::Resource;
use fhirbolt::serde::{DeserializationConfig, DeserializationMode};

type R4Element = Element<{ FhirReleases::R4 }>;
pub(crate) type R4Value = Value<{ FhirReleases::R4 }>;

/// An element's fields, in order.
pub(crate) type Body = Vec<(String, R4Value)>;

/// Where in the model a question is asked: a resource type and the elements that lead to the place.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) root: String,
    pub(crate) path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// "unknown field", with the names there are.
    Unknown {
        names: Vec<String>,
    },
    Missing {
        name: String,
    },
    Duplicate,
    /// "invalid type", with the name of what was expected.
    WrongType {
        expected: String,
    },
    Other(String),
}

/// No element of FHIR begins like that.
const SENTINEL: &str = "$sentinel";

impl Place {
    pub(crate) fn inside(&self, element: &str) -> Place {
        let mut place = self.clone();
        place.path.push(element.to_owned());
        place
    }

    /// What fhirbolt says to `body` at this place.
    pub(crate) fn ask(&self, body: Body) -> Answer {
        let mut body = body;
        for element in self.path.iter().rev() {
            // The sentinel comes after what is asked about: whatever the outer levels lack is never reached,
            // and hearing of the sentinel means that the rest was taken.
            body = vec![(element.clone(), of(body)), (SENTINEL.to_owned(), boolean())];
        }
        body.insert(0, ("resourceType".to_owned(), string(&self.root)));
        let strict = Some(DeserializationConfig { mode: DeserializationMode::Strict });
        match from_element::<{ FhirReleases::R4 }, Resource>(element(body), strict) {
            Ok(_) => Answer::Taken,
            Err(error) => Answer::from(error.to_string().as_str()),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        match self.ask(vec![("$probe".to_owned(), boolean())]) {
            Answer::Unknown { names } => names,
            other => panic!("{}{:?}: {other:?}", self.root, self.path),
        }
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        let quoted = || text.split('`').skip(1).step_by(2).map(str::to_owned);
        let kind = |kind: &str| text.starts_with(kind);
        if kind(&format!("unknown field `{SENTINEL}`")) {
            Answer::Taken
        } else if kind("unknown field") {
            Answer::Unknown { names: quoted().skip(1).collect() }
        } else if kind("missing field") {
            Answer::Missing { name: quoted().next().unwrap_or_default() }
        } else if kind("duplicate field") {
            Answer::Duplicate
        } else if let Some((_, expected)) = text.rsplit_once("expected ").filter(|_| kind("invalid type")) {
            Answer::WrongType { expected: expected.to_owned() }
        } else {
            Answer::Other(text.to_owned())
        }
    }
}

pub(crate) fn boolean() -> R4Value {
    Value::Primitive(Primitive::Bool(true))
}

pub(crate) fn string(text: &str) -> R4Value {
    Value::Primitive(Primitive::String(text.to_owned()))
}

pub(crate) fn of(body: Body) -> R4Value {
    Value::Element(element(body))
}

pub(crate) fn element(body: Body) -> Element<{ FhirReleases::R4 }> {
    let mut element = R4Element::new();
    element.extend(body);
    element
}
