//! The text between tags: where it needs a look, what its references stand for, whether a value is a script.

use super::text::plain_bytes;

/// How many bytes stand before the next one that needs a look: one of `stops`, a character that XML forbids or the end.
#[inline]
pub(super) fn plain<const N: usize>(text: &[u8], stops: [u8; N]) -> usize {
    let mut at = 0;
    loop {
        at += plain_bytes(&text[at..], stops);
        match text.get(at) {
            Some(b'\t' | b'\n' | b'\r') => at += 1,
            _ => return at,
        }
    }
}

/// The character of the reference that begins here, and its length; XML's only.
pub(super) fn reference(text: &[u8]) -> Option<(char, usize)> {
    const NAMED: [(&[u8], char); 5] =
        [(b"&lt;", '<'), (b"&gt;", '>'), (b"&amp;", '&'), (b"&quot;", '"'), (b"&apos;", '\'')];
    if let Some((name, character)) = NAMED.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*character, name.len()));
    }
    let digits = text.strip_prefix(b"&#")?;
    let (radix, digits, prefix) = match digits.strip_prefix(b"x") {
        Some(digits) => (16, digits, 3),
        None => (10, digits, 2),
    };
    // U+10FFFF has seven digits; leading zeros are legal, but not without end.
    let end = digits.iter().take(12).position(|c| *c == b';').filter(|end| *end > 0)?;
    let code = digits[..end].iter().try_fold(0u32, |code, digit| {
        code.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })?;
    let character = char::from_u32(code).filter(|c| is_xml(*c))?;
    Some((character, prefix + end + 1))
}

/// XML's `Char`.
pub(super) fn is_xml(character: char) -> bool {
    !matches!(character, '\u{0}'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Whether an attribute's value runs something: a script's URI, or, in a style, an expression or such a URI
/// anywhere. Browsers ignore white space and case there, and so does this.
pub(super) fn is_active(value: &[u8], style: bool) -> bool {
    const SCRIPTS: [&str; 3] = ["javascript:", "vbscript:", "data:text/html"];
    // Nearly every value is settled here, without a copy: what runs needs a bracket or a rule in a style and one
    // of three first letters in a URI, unless a reference or white space hides it.
    let suspect = match style {
        true => value.iter().any(|c| matches!(c, b'(' | b'@' | b'&')),
        false => value
            .first()
            .is_some_and(|c| matches!(c, b'j' | b'J' | b'v' | b'V' | b'd' | b'D' | b'&' | 0..=b' ')),
    } || value.iter().any(|c| !c.is_ascii());
    if !suspect {
        return false;
    }
    let plain = folded(value);
    if style {
        return SCRIPTS.iter().any(|script| plain.contains(script))
            || plain.contains("expression(")
            || plain.contains("@import");
    }
    SCRIPTS.iter().any(|script| plain.starts_with(script))
}

/// References resolved, white space and control characters gone, lower case.
fn folded(value: &[u8]) -> String {
    let mut plain = String::with_capacity(value.len());
    let text = String::from_utf8_lossy(value);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('&') {
        let (character, length) = reference(&rest.as_bytes()[at..]).unwrap_or(('&', 1));
        plain.push_str(&rest[..at]);
        plain.push(character);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    plain.chars().filter(|c| !c.is_whitespace() && !c.is_control()).flat_map(char::to_lowercase).collect()
}
