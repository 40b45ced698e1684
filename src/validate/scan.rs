//! JSON's tokens, strictly: a cursor over bytes that are known to be UTF-8. It allocates nothing, and its
//! recursion is bounded.

use super::primitive::is_json_number;
use super::text::{Text, plain_bytes};

/// Why a walk over the bytes ends before their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// No JSON from here on.
    Syntax { at: usize, text: &'static str },
    /// Nested beyond the bound.
    TooDeep { at: usize },
    /// As many issues as are reported.
    Enough,
}

#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

fn syntax<T>(at: usize, text: &'static str) -> Result<T, Halt> {
    Err(Halt::Syntax { at, text })
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// The byte here; 0, which no JSON has outside of strings, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn white_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    pub(super) fn end(&mut self) -> Result<(), Halt> {
        self.white_space();
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => syntax(self.at, "bytes after the end of the resource"),
        }
    }

    /// An object's key, up to the first byte of its value.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Text<'a>, Halt> {
        if self.peek() != b'"' {
            return syntax(self.at, "expected the name of an element, in double quotes");
        }
        let key = self.string()?;
        self.white_space();
        if self.peek() != b':' {
            return syntax(self.at, "expected `:` after the name of an element");
        }
        self.at += 1;
        self.white_space();
        Ok(key)
    }

    /// After a member: whether another follows; then the cursor stands on it.
    #[inline]
    pub(super) fn next_member(&mut self) -> Result<bool, Halt> {
        self.more(b'}', "expected `,` or `}`")
    }

    #[inline]
    pub(super) fn next_item(&mut self) -> Result<bool, Halt> {
        self.more(b']', "expected `,` or `]`")
    }

    #[inline]
    fn more(&mut self, close: u8, text: &'static str) -> Result<bool, Halt> {
        self.white_space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.white_space();
                Ok(true)
            }
            c if c == close => {
                self.at += 1;
                Ok(false)
            }
            _ if self.at >= self.bytes.len() => syntax(self.at, "the document ends early"),
            _ => syntax(self.at, text),
        }
    }

    /// The string whose opening quote is here. Escapes are checked, not resolved.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, Halt> {
        self.at += 1;
        let start = self.at;
        let (mut escaped, mut control) = (false, false);
        loop {
            self.at += plain_bytes(&self.bytes[self.at.min(self.bytes.len())..], [b'"', b'\\']);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Text { raw, escaped, control });
                }
                Some(b'\\') => {
                    escaped = true;
                    control |= self.escape()?;
                }
                Some(_) => return syntax(self.at, "a control character in a string"),
                None => return syntax(self.at, "the document ends inside a string"),
            }
        }
    }

    /// Steps over an escape; true where it names a control character that R4 forbids.
    fn escape(&mut self) -> Result<bool, Halt> {
        let at = self.at;
        let unit = |at: usize| match self.bytes.get(at..at + 6) {
            Some([b'\\', b'u', hex @ ..]) => hex
                .iter()
                .try_fold(0u32, |unit, digit| char::from(*digit).to_digit(16).map(|digit| unit << 4 | digit)),
            _ => None,
        };
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'b' | b'f') => {
                self.at += 2;
                return Ok(true);
            }
            Some(b'u') => match unit(at) {
                Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => self.at += 12,
                Some(0xD800..=0xDFFF) => return syntax(at, "an unpaired surrogate in a string"),
                Some(unit) => {
                    self.at += 6;
                    return Ok(unit < 0x20 && !matches!(unit, 0x09 | 0x0A | 0x0D));
                }
                None => return syntax(at, "`\\u` wants four hexadecimal digits"),
            },
            _ => return syntax(at, "no such escape in JSON"),
        }
        Ok(false)
    }

    /// The bytes of what looks like a number here.
    #[inline]
    pub(super) fn number(&mut self) -> &'a [u8] {
        let start = self.at;
        while matches!(self.peek(), b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    #[inline]
    pub(super) fn literal(&mut self, word: &[u8]) -> bool {
        let here = self.bytes[self.at..].starts_with(word);
        if here {
            self.at += word.len();
        }
        here
    }

    /// Steps over a value of any shape, which has to be JSON all the same. `depth` is how many more levels of
    /// objects and arrays are allowed.
    pub(super) fn skip(&mut self, depth: u32) -> Result<(), Halt> {
        let at = self.at;
        match self.peek() {
            b'"' => self.string().map(drop),
            b'{' | b'[' if depth == 0 => Err(Halt::TooDeep { at }),
            b'{' => {
                if !self.open(b'}') {
                    return Ok(());
                }
                loop {
                    self.key()?;
                    self.skip(depth - 1)?;
                    if !self.next_member()? {
                        return Ok(());
                    }
                }
            }
            b'[' => {
                if !self.open(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth - 1)?;
                    if !self.next_item()? {
                        return Ok(());
                    }
                }
            }
            b'-' | b'0'..=b'9' if is_json_number(self.number()) => Ok(()),
            b'-' | b'0'..=b'9' => syntax(at, "not a JSON number"),
            _ if self.literal(b"true") || self.literal(b"false") || self.literal(b"null") => Ok(()),
            0 if at >= self.bytes.len() => syntax(at, "the document ends early"),
            _ => syntax(at, "not a JSON value"),
        }
    }

    /// Steps into an object or array; false where it is empty, then the cursor stands behind it.
    #[inline]
    pub(super) fn open(&mut self, close: u8) -> bool {
        self.at += 1;
        self.white_space();
        let empty = self.peek() == close;
        self.at += usize::from(empty);
        !empty
    }

    /// The `resourceType` of the object that opens here: as a rule its first key, else looked for. The cursor
    /// stays.
    pub(super) fn resource_type(&self, depth: u32) -> Result<Option<Text<'a>>, Halt> {
        let mut ahead = self.clone();
        if !ahead.open(b'}') {
            return Ok(None);
        }
        loop {
            if ahead.key()?.is("resourceType") {
                return if ahead.peek() == b'"' { ahead.string().map(Some) } else { Ok(None) };
            }
            ahead.skip(depth)?;
            if !ahead.next_member()? {
                return Ok(None);
            }
        }
    }
}
