//! FHIR's XML has three attributes: `value` of primitives, `id` of elements, `url` of extensions.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::source::Source;
use super::{Answer, SCHEMA_INSTANCE, malformed};
use crate::validate::issue::quotable;
use crate::validate::xhtml_text::is_xml;

#[derive(Default)]
pub(super) struct Attributes<'t> {
    pub(super) value: Option<Cow<'t, str>>,
    pub(super) id: Option<Cow<'t, str>>,
    pub(super) url: Option<Cow<'t, str>>,
    /// The first that FHIR does not have.
    pub(super) unknown: Option<String>,
}

impl<'t> Attributes<'t> {
    pub(super) fn none(&self) -> bool {
        self.value.is_none() && self.id.is_none() && self.url.is_none()
    }

    pub(super) fn of(source: &Source<'_>, tag: &'t BytesStart<'_>) -> Answer<Self> {
        let mut found = Attributes::default();
        for attribute in tag.attributes() {
            let Ok(attribute) = attribute else {
                return malformed(source.at, "a tag's attributes are not well formed, or one comes twice");
            };
            let key = attribute.key;
            if key.as_namespace_binding().is_some() || is_schema_hint(source, key) {
                continue;
            }
            let slot = match key.0 {
                "value" => &mut found.value,
                "id" => &mut found.id,
                "url" => &mut found.url,
                name => {
                    found.unknown.get_or_insert_with(|| quotable(name.as_bytes()));
                    continue;
                }
            };
            // Line breaks and tabs become spaces unless they are written as references: XML's rule, which every
            // reader of the document follows.
            let value = match attribute.normalized_value(XmlVersion::Explicit1_0) {
                Ok(value) if !attribute.value.contains('<') && value.chars().all(is_xml) => value,
                Ok(_) => return malformed(source.at, "a character in an attribute that XML does not allow"),
                Err(_) => return malformed(source.at, "an `&` in an attribute that begins no entity of XML"),
            };
            *slot = Some(value);
        }
        Ok(found)
    }
}

/// `xsi:schemaLocation` says nothing about the resource.
fn is_schema_hint(source: &Source<'_>, key: quick_xml::name::QName<'_>) -> bool {
    key.prefix().is_some()
        && source.namespace_of_attribute(key) == Some(SCHEMA_INSTANCE)
        && matches!(key.local_name().as_ref(), "schemaLocation" | "noNamespaceSchemaLocation")
}
