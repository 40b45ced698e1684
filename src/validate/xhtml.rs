//! Narrative: a `div` of XHTML that is well formed, and holds only what R4's rule txt-1 allows: basic formatting,
//! no active content. Rule txt-2 (some content) is not asked for: HL7's own example of EventDefinition has an
//! empty `div`.
//!
//! The allowed names are the union of txt-1's own XPath and of what HL7's validator takes, so that what either
//! lets through is not refused here. Relative links, images and absolute links are legal in R4.

use std::sync::LazyLock;

use super::index::NameIndex;
use super::issue::quotable;
use super::xhtml_text;

const XHTML: &[u8] = b"http://www.w3.org/1999/xhtml";

/// More open elements than any browser would follow; a bound instead of a heap.
const DEEPEST: usize = 256;

#[rustfmt::skip]
const ELEMENTS: &[&str] = &[
    "div", "a", "abbr", "acronym", "address", "area", "b", "bdo", "big", "blockquote", "br", "caption",
    "cite", "code", "col", "colgroup", "dd", "dfn", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
    "i", "img", "kbd", "li", "map", "ol", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table",
    "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var",
];
const DIV: u16 = 0;

#[rustfmt::skip]
const ATTRIBUTES: &[&str] = &[
    "style", "href", "src", "cite", "longdesc", "usemap", "abbr", "accesskey", "align", "alt", "axis", "bgcolor",
    "border", "cellhalign", "cellpadding", "cellspacing", "cellvalign", "char", "charoff", "charset", "class",
    "clear", "colspan", "compact", "coords", "dir", "frame", "headers", "height", "hreflang", "hspace", "id",
    "ismap", "lang", "name", "nohref", "noshade", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape",
    "size", "span", "start", "summary", "tabindex", "title", "type", "valign", "value", "vspace", "width",
    "xml:lang", "xml:space",
];
/// The attributes before this position can hold a script: as a URI, or in a style.
const STYLE: u16 = 0;
const PLAIN: u16 = 6;

static ELEMENT_INDEX: LazyLock<NameIndex> = LazyLock::new(|| NameIndex::of(ELEMENTS.iter().copied()));
static ATTRIBUTE_INDEX: LazyLock<NameIndex> = LazyLock::new(|| NameIndex::of(ATTRIBUTES.iter().copied()));

/// What is wrong with a narrative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) text: String,
}

#[cold]
fn malformed<T>(text: &str) -> Result<T, Wrong> {
    Err(Wrong { code: "value", text: format!("the narrative is not well-formed XHTML: {text}") })
}

#[cold]
fn forbidden<T>(text: String) -> Result<T, Wrong> {
    Err(Wrong { code: "invariant", text: format!("the narrative breaks rule txt-1: {text}") })
}

/// `text` is what the JSON string stands for.
pub(super) fn check(text: &[u8]) -> Result<(), Wrong> {
    // Listed as a valid xhtml in the lists of primitives.
    if text.is_empty() {
        return Ok(());
    }
    let mut reader = Reader { text, at: 0, open: [0; DEEPEST], depth: 0 };
    reader.white_space();
    if !reader.rest().starts_with(b"<div") {
        return malformed("it has to be one `div` element");
    }
    while reader.markup()? {}
    reader.white_space();
    if reader.at < text.len() {
        return malformed("something follows the `div`");
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The open elements, as positions in `ELEMENTS`.
    open: [u8; DEEPEST],
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn white_space(&mut self) {
        self.at += self.rest().iter().take_while(|c| c.is_ascii_whitespace()).count();
    }

    /// One tag or comment and the text behind it; false once the `div` is closed.
    fn markup(&mut self) -> Result<bool, Wrong> {
        match self.text.get(self.at + 1) {
            Some(b'/') => self.end_tag()?,
            Some(b'!') if self.rest().starts_with(b"<!--") => self.comment()?,
            Some(b'!') => return malformed("neither DOCTYPE nor CDATA may stand in it"),
            Some(b'?') => return malformed("no processing instruction may stand in it"),
            _ => self.start_tag()?,
        }
        if self.depth == 0 {
            return Ok(false);
        }
        self.character_data()?;
        Ok(true)
    }

    fn character_data(&mut self) -> Result<(), Wrong> {
        loop {
            self.at += xhtml_text::plain(self.rest(), [b'<', b'&']);
            match self.peek() {
                b'<' => return Ok(()),
                b'&' => self.reference()?,
                0 if self.at >= self.text.len() => return malformed("it ends before its `div` does"),
                _ => return malformed("it holds a control character"),
            }
        }
    }

    /// `&#160;` and the five names of XML; HTML's own names, `&nbsp;` the first, are not in R4.
    fn reference(&mut self) -> Result<(), Wrong> {
        match xhtml_text::reference(self.rest()) {
            Some((_, length)) => {
                self.at += length;
                Ok(())
            }
            None => malformed("an `&` that begins no entity of XML (`&nbsp;` and the like are none)"),
        }
    }

    fn comment(&mut self) -> Result<(), Wrong> {
        let body = &self.rest()[4..];
        match body.windows(2).position(|pair| pair == b"--") {
            Some(end) if body.get(end + 2) == Some(&b'>') => {
                self.at += 4 + end + 3;
                Ok(())
            }
            _ => malformed("a comment does not end, or holds `--`"),
        }
    }

    fn name(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let length = rest
            .iter()
            .take_while(|c| {
                c.is_ascii_alphanumeric() || matches!(c, b':' | b'-' | b'_' | b'.') || !c.is_ascii()
            })
            .count();
        self.at += length;
        &rest[..length]
    }

    fn end_tag(&mut self) -> Result<(), Wrong> {
        self.at += 2;
        let name = self.name();
        self.white_space();
        let open = self.depth.checked_sub(1).map(|top| ELEMENTS[self.open[top] as usize]);
        if self.peek() != b'>' || open.map(str::as_bytes) != Some(name) {
            return malformed("an end tag does not match its start tag");
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn start_tag(&mut self) -> Result<(), Wrong> {
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return malformed("a `<` that begins no tag");
        }
        let known = ELEMENT_INDEX.find(name, |position| ELEMENTS[position as usize].as_bytes());
        let Some(element) = known.filter(|element| self.depth > 0 || *element == DIV) else {
            return forbidden(format!("element `{}` is not allowed", quotable(name)));
        };
        self.attributes()?;
        if self.rest().starts_with(b"/>") {
            self.at += 2;
            return Ok(());
        }
        if self.peek() != b'>' {
            return malformed("a tag does not end");
        }
        self.at += 1;
        if self.depth == DEEPEST {
            return Err(Wrong { code: "too-costly", text: "the narrative nests too deeply".into() });
        }
        self.open[self.depth] = element as u8;
        self.depth += 1;
        Ok(())
    }

    fn attributes(&mut self) -> Result<(), Wrong> {
        let mut seen = 0u64;
        loop {
            let before = self.at;
            self.white_space();
            if matches!(self.peek(), b'>' | b'/') || self.at >= self.text.len() {
                return Ok(());
            }
            if self.at == before {
                return malformed("an attribute without a space before it");
            }
            let name = self.name();
            if name.is_empty() {
                return malformed("a tag that holds something other than attributes");
            }
            let value = self.attribute_value()?;
            if name == b"xmlns" || name.starts_with(b"xmlns:") {
                if name == b"xmlns" && value != XHTML {
                    return malformed("its namespace is not that of XHTML");
                }
                continue;
            }
            let Some(position) = ATTRIBUTE_INDEX.find(name, |at| ATTRIBUTES[at as usize].as_bytes()) else {
                return forbidden(format!("attribute `{}` is not allowed", quotable(name)));
            };
            if seen & (1 << position) != 0 {
                return malformed("an attribute that comes twice");
            }
            seen |= 1 << position;
            if position < PLAIN && xhtml_text::is_active(value, position == STYLE) {
                return forbidden(format!("a script in attribute `{}`", ATTRIBUTES[position as usize]));
            }
        }
    }

    fn attribute_value(&mut self) -> Result<&'a [u8], Wrong> {
        self.white_space();
        if self.peek() != b'=' {
            return malformed("an attribute without a value");
        }
        self.at += 1;
        self.white_space();
        let quote = self.peek();
        if !matches!(quote, b'"' | b'\'') {
            return malformed("an attribute's value without quotes");
        }
        self.at += 1;
        let start = self.at;
        loop {
            self.at += xhtml_text::plain(self.rest(), [quote, b'&', b'<']);
            match self.peek() {
                c if c == quote => break,
                b'&' => self.reference()?,
                b'<' => return malformed("a `<` in an attribute"),
                _ => return malformed("an attribute does not end"),
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }
}
