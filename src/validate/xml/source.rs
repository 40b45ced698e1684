//! quick-xml's events, less everything that FHIR's XML does not have.

use quick_xml::NsReader;
use quick_xml::errors::{Error, IllFormedError};
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};

use super::{Answer, malformed, too_deep};

/// What a resource consists of: between its tags there is only white space.
pub(super) enum Node<'a> {
    Start(BytesStart<'a>),
    End,
    /// After the end of the root.
    Eof,
}

pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    reader: NsReader<&'a [u8]>,
    /// Where the last event began.
    pub(super) at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = NsReader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        Source { text, reader, at: 0 }
    }

    /// Where the last event ended.
    pub(super) fn end(&self) -> usize {
        self.reader.buffer_position() as usize
    }

    /// The next event of any kind but those that are never allowed.
    pub(super) fn event(&mut self) -> Answer<Event<'a>> {
        self.at = self.end();
        let event = match self.reader.read_event() {
            Ok(event) => event,
            Err(error) => return malformed(self.at, wording(&error)),
        };
        match &event {
            Event::DocType(_) => malformed(self.at, "a document type declaration is not allowed in FHIR"),
            Event::PI(_) => malformed(self.at, "a processing instruction is not allowed in FHIR"),
            Event::CData(_) => malformed(self.at, "CDATA is not allowed in FHIR"),
            Event::Decl(declaration) => self.declaration(declaration).map(|()| event),
            _ => Ok(event),
        }
    }

    /// The next tag outside of narrative.
    pub(super) fn node(&mut self) -> Answer<Node<'a>> {
        loop {
            match self.event()? {
                Event::Start(tag) => return Ok(Node::Start(tag)),
                Event::End(_) => return Ok(Node::End),
                Event::Eof => return Ok(Node::Eof),
                Event::Text(text) if text.bytes().all(|c| c.is_ascii_whitespace()) => {}
                Event::Text(_) | Event::GeneralRef(_) => {
                    return malformed(self.at, "text outside of an attribute and of narrative");
                }
                _ => {}
            }
        }
    }

    /// To the end of the element that was just opened, whatever it holds, as long as that is XML of FHIR's kind.
    pub(super) fn skip(&mut self, depth: u32) -> Answer<()> {
        let mut open = 1;
        while open > 0 {
            match self.event()? {
                Event::Start(_) if open == depth => return too_deep(self.at),
                Event::Start(_) => open += 1,
                Event::End(_) => open -= 1,
                Event::Eof => return malformed(self.at, "the document ends early"),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn namespace_of(&self, name: QName<'_>) -> Option<&str> {
        bound(self.reader.resolver().resolve_element(name).0)
    }

    pub(super) fn namespace_of_attribute(&self, name: QName<'_>) -> Option<&str> {
        bound(self.reader.resolver().resolve_attribute(name).0)
    }

    fn declaration(&self, declaration: &BytesDecl<'_>) -> Answer<()> {
        if self.at > 0 {
            return malformed(self.at, "an XML declaration that is not at the start");
        }
        if declaration.version().ok().as_deref() != Some("1.0") {
            return malformed(self.at, "only XML 1.0 is FHIR");
        }
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("utf-8") => Ok(()),
            Some(_) => malformed(self.at, "only UTF-8 is FHIR"),
        }
    }
}

fn bound(resolved: ResolveResult<'_>) -> Option<&str> {
    match resolved {
        ResolveResult::Bound(Namespace(namespace)) => Some(namespace),
        _ => None,
    }
}

/// quick-xml repeats names and namespaces in its errors; a sender knows its own document by line and column.
fn wording(error: &Error) -> &'static str {
    match error {
        Error::Syntax(_) => "the document ends inside of a tag, a comment or the like",
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
            "an end tag does not match its start tag"
        }
        Error::IllFormed(IllFormedError::DoubleHyphenInComment) => "`--` in a comment",
        Error::IllFormed(IllFormedError::UnclosedReference) => "an `&` that begins no entity",
        Error::InvalidAttr(_) => "a tag's attributes are not well formed",
        Error::Namespace(_) => "namespaces that XML does not allow, or too many of them",
        _ => "not well-formed XML",
    }
}
