//! The part of the one pass that looks at primitives: their JSON form, then their grammar.

use super::check::Check;
use super::primitive::{Form, Primitive, is_json_number};
use super::scan::Halt;
use super::text::Text;
use super::xhtml;

impl<'a> Check<'a> {
    /// A primitive's value. `quoted`: fhirbolt wants a decimal here as a string, so its place is kept.
    #[inline]
    pub(super) fn primitive(&mut self, primitive: Primitive, quoted: bool) -> Result<Option<Text<'a>>, Halt> {
        match primitive.form() {
            Form::Text => self.text(primitive),
            Form::Number => self.number(primitive, quoted).map(|()| None),
            Form::Boolean => {
                if !self.cursor.literal(b"true") && !self.cursor.literal(b"false") {
                    self.mismatch("a boolean")?;
                }
                Ok(None)
            }
        }
    }

    fn number(&mut self, primitive: Primitive, quoted: bool) -> Result<(), Halt> {
        let at = self.cursor.at;
        if !matches!(self.cursor.peek(), b'-' | b'0'..=b'9') {
            return self.mismatch(&format!("a number for {}", primitive.name()));
        }
        let number = self.cursor.number();
        if primitive == Primitive::Decimal && quoted {
            self.findings.decimals.push(at..self.cursor.at);
        }
        if primitive.accepts_number(number) {
            return Ok(());
        }
        if !is_json_number(number) {
            return Err(Halt::Syntax { at, text: "not a JSON number" });
        }
        if !self.grammars {
            return Ok(());
        }
        self.fault(at, "value", format!("not a valid {}: {}", primitive.name(), primitive.rule()))
    }

    #[inline]
    fn text(&mut self, primitive: Primitive) -> Result<Option<Text<'a>>, Halt> {
        let at = self.cursor.at;
        if self.cursor.peek() != b'"' {
            return self.mismatch(&format!("a string for {}", primitive.name())).map(|()| None);
        }
        let text = self.cursor.string()?;
        if self.grammars {
            match primitive {
                Primitive::String | Primitive::Markdown => self.plain_text(at, text, primitive)?,
                Primitive::Xhtml => self.narrative(at, text)?,
                _ => self.formed_text(at, text, primitive)?,
            }
        }
        Ok(Some(text))
    }

    /// string and markdown: anything that is not blank, not too long and without control characters.
    #[inline]
    fn plain_text(&mut self, at: usize, text: Text<'_>, primitive: Primitive) -> Result<(), Halt> {
        let name = primitive.name();
        if text.is_blank(&mut self.scratch) {
            let text = if text.raw.is_empty() { "is empty" } else { "holds nothing but white space" };
            return self.fault(at, "value", format!("a {name} that {text}: leave the element out instead"));
        }
        if text.control {
            return self.fault(at, "value", format!("a control character in a {name}"));
        }
        if text.longer_than_allowed() {
            return self.fault(at, "too-long", format!("a {name} of more than 1 MB"));
        }
        Ok(())
    }

    /// A type with a grammar, matched on the text that the JSON string stands for.
    #[inline]
    fn formed_text(&mut self, at: usize, text: Text<'_>, primitive: Primitive) -> Result<(), Halt> {
        let valid = if text.escaped {
            text.unescape_into(&mut self.scratch);
            primitive.accepts_text(&self.scratch)
        } else {
            primitive.accepts_text(text.raw)
        };
        if valid {
            return Ok(());
        }
        if text.raw.is_empty() {
            let text = format!("a {} that is empty: leave the element out instead", primitive.name());
            return self.fault(at, "value", text);
        }
        self.fault(at, "value", format!("not a valid {}: {}", primitive.name(), primitive.rule()))
    }

    fn narrative(&mut self, at: usize, text: Text<'_>) -> Result<(), Halt> {
        let wrong = if text.escaped {
            text.unescape_into(&mut self.scratch);
            xhtml::check(&self.scratch)
        } else {
            xhtml::check(text.raw)
        };
        match wrong {
            Ok(()) => Ok(()),
            Err(wrong) => self.fault(at, wrong.code, wrong.text),
        }
    }
}
