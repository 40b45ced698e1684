//! A JSON string: as it is written, and what it stands for. It is resolved only where somebody has to know.

use std::borrow::Cow;

use super::primitive::STRING_LIMIT;

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
    /// An escape names a control character other than tab, line feed and carriage return.
    pub(super) control: bool,
}

impl<'a> Text<'a> {
    /// With the escapes resolved, which there are hardly ever.
    pub(super) fn to_fact(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(self.to_text()) } else { String::from_utf8_lossy(self.raw) }
    }

    /// Whether this is `word`, escaped or not.
    #[inline]
    pub(super) fn is(&self, word: &str) -> bool {
        self.raw == word.as_bytes() || (self.escaped && self.to_text() == word)
    }

    /// With the escapes resolved.
    pub(super) fn to_text(self) -> String {
        let mut text = Vec::with_capacity(self.raw.len());
        self.unescape_into(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Resolves the escapes, which `Cursor::string` has checked.
    pub(super) fn unescape_into(&self, text: &mut Vec<u8>) {
        text.clear();
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            text.extend_from_slice(&rest[..at]);
            let length = match rest[at + 1] {
                b'u' => {
                    let (character, length) = unicode_escape(&rest[at..]);
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    length
                }
                c => {
                    text.push(match c {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 0x08,
                        b'f' => 0x0C,
                        c => c,
                    });
                    2
                }
            };
            rest = &rest[at + length..];
        }
        text.extend_from_slice(rest);
    }

    /// R4 bounds strings by characters; bytes as written are an upper bound that nearly always settles it.
    pub(super) fn longer_than_allowed(&self) -> bool {
        self.raw.len() > STRING_LIMIT && self.to_text().chars().count() > STRING_LIMIT
    }

    /// Nothing but white space.
    #[inline]
    pub(super) fn is_blank(&self, scratch: &mut Vec<u8>) -> bool {
        match self.raw.first() {
            Some(c) if *c > b' ' && *c != b'\\' => false,
            _ if self.escaped => {
                self.unescape_into(scratch);
                scratch.iter().all(u8::is_ascii_whitespace)
            }
            _ => self.raw.iter().all(u8::is_ascii_whitespace),
        }
    }
}

/// The character of a checked `\uXXXX` or pair of them, and how many bytes it takes.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        escape[at + 2..at + 6].iter().fold(0, |unit, c| unit << 4 | char::from(*c).to_digit(16).unwrap_or(0))
    };
    match unit(0) {
        high @ 0xD800..=0xDBFF => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (unit(6).wrapping_sub(0xDC00) & 0x3FF);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        unit => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

/// How many bytes from the start need no look: neither one of `stops` nor a control character. Eight at a time.
#[inline]
pub(super) fn plain_bytes<const N: usize>(bytes: &[u8], stops: [u8; N]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let special =
            stops.iter().fold(below_space, |found, stop| found | zero_byte(word ^ (ONES * u64::from(*stop))));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|c| **c >= 0x20 && !stops.contains(c)).count()
}
