//! Narrative is kept as it is written: mixed content, attributes, references, comments, white space. Only what
//! ties it to the document around it is changed, prefixes and an inherited namespace, so that the string stands
//! alone.

use quick_xml::events::{BytesStart, Event};

use super::source::Source;
use super::{Answer, XHTML, invalid, malformed, too_deep};
use crate::validate::xhtml_text::reference;

/// As deep as the check of narrative follows.
const DEEPEST: usize = 256;

/// The `div` whose start tag was just read, to its end; what is wrong with its namespaces is told then.
pub(super) fn read(source: &mut Source<'_>, div: &BytesStart<'_>) -> Answer<String> {
    let mut narrative = String::new();
    let mut wrong = start(&mut narrative, source, div).err();
    let mut depth = 1;
    while depth > 0 {
        match source.event()? {
            Event::Start(tag) => {
                if depth == DEEPEST {
                    return too_deep(source.at);
                }
                let started = start(&mut narrative, source, &tag);
                wrong = wrong.or(started.err());
                depth += 1;
            }
            Event::End(tag) => {
                depth -= 1;
                let written = &source.text[source.at..source.end()];
                // An empty-element tag has its end without a text of its own.
                if let Some(after) = written.strip_prefix("</") {
                    narrative.push_str("</");
                    narrative.push_str(&after[prefix_length(tag.name().0)..]);
                }
            }
            Event::GeneralRef(_) => {
                let written = &source.text[source.at..source.end()];
                if reference(written.as_bytes()).is_none() {
                    return malformed(source.at, "an entity that XML does not have");
                }
                narrative.push_str(written);
            }
            Event::Eof => return malformed(source.at, "the document ends inside of narrative"),
            _ => narrative.push_str(&source.text[source.at..source.end()]),
        }
    }
    wrong.map_or(Ok(narrative), Err)
}

fn start(narrative: &mut String, source: &Source<'_>, tag: &BytesStart<'_>) -> Answer<()> {
    let name = tag.name();
    if source.namespace_of(name) != Some(XHTML) {
        return invalid(source.at, "an element in narrative that is not in the namespace of XHTML");
    }
    let written = &source.text[source.at..source.end()];
    let (local, rest) = (name.local_name(), &written[1 + name.0.len()..]);
    narrative.push('<');
    narrative.push_str(local.as_ref());
    // Inside of the `div` the namespace is known; on it, it may come from the document around it.
    let declares = || tag.attributes().flatten().any(|attribute| attribute.key.0 == "xmlns");
    if narrative.len() == 1 + local.as_ref().len() && !declares() {
        narrative.push_str(&format!(" xmlns=\"{XHTML}\""));
    }
    narrative.push_str(rest);
    Ok(())
}

fn prefix_length(name: &str) -> usize {
    name.find(':').map_or(0, |colon| colon + 1)
}
