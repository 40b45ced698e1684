//! FHIR's primitives as byte matchers, one for each regular expression of the R4 datatypes page.
//! Dates and times are in `calendar`, narrative in `xhtml`.

use super::calendar;

macro_rules! primitives {
    ($($variant:ident $name:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Primitive { $($variant),* }

        impl Primitive {
            /// By fhirbolt's name of the type, as the table has it.
            pub(super) fn named(name: &str) -> Option<Primitive> {
                Some(match name { $(stringify!($variant) => Primitive::$variant,)* _ => return None })
            }

            /// FHIR's name of the type.
            pub(super) fn name(self) -> &'static str {
                match self { $(Primitive::$variant => $name),* }
            }
        }
    };
}

primitives! {
    Base64Binary "base64Binary" Boolean "boolean" Canonical "canonical" Code "code" Date "date"
    DateTime "dateTime" Decimal "decimal" Id "id" Instant "instant" Integer "integer" Markdown "markdown"
    Oid "oid" PositiveInt "positiveInt" String "string" Time "time" UnsignedInt "unsignedInt" Uri "uri"
    Url "url" Uuid "uuid" Xhtml "xhtml"
}

/// How JSON writes a primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Boolean,
    Number,
    Text,
}

/// 1 MB, which R4 counts in characters.
pub(super) const STRING_LIMIT: usize = 1024 * 1024;

impl Primitive {
    #[inline]
    pub(super) fn form(self) -> Form {
        match self {
            Self::Boolean => Form::Boolean,
            Self::Integer | Self::PositiveInt | Self::UnsignedInt | Self::Decimal => Form::Number,
            _ => Form::Text,
        }
    }

    /// Whether `digits` is a number of this type. Any precision is right for a decimal: nothing here reads
    /// its value, it is forwarded as it stands.
    pub(super) fn accepts_number(self, number: &[u8]) -> bool {
        if self == Self::Decimal {
            return is_json_number(number);
        }
        let (negative, digits) = match number {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let whole = digits_at_start(digits);
        if whole == 0 || whole != digits.len() || whole > 10 || (whole > 1 && digits[0] == b'0') {
            return false;
        }
        let value = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        match self {
            Self::PositiveInt => !negative && value >= 1 && value <= i64::from(i32::MAX),
            Self::UnsignedInt => !negative && value <= i64::from(i32::MAX),
            // R4's grammar has no -0, and fhirbolt does not read one.
            _ => value <= i64::from(i32::MAX) + i64::from(negative) && !(negative && value == 0),
        }
    }

    /// The grammar, in words for the sender.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Code => "no white space but single spaces between words",
            Self::Uri | Self::Url | Self::Canonical => "no white space is allowed",
            Self::Id => "1 to 64 of A-Z, a-z, 0-9, `-` and `.`",
            Self::Date => "YYYY, YYYY-MM or YYYY-MM-DD, a real day",
            Self::DateTime => "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with an offset, a real day",
            Self::Instant => "YYYY-MM-DDThh:mm:ss with an offset, a real day",
            Self::Time => "hh:mm:ss",
            Self::Oid => "`urn:oid:` and the arcs",
            Self::Uuid => "`urn:uuid:` and the UUID in lower case",
            Self::Base64Binary => "groups of four characters of the base64 alphabet, padded at the end",
            Self::Integer => "a whole number of 32 bits",
            Self::PositiveInt => "a whole number from 1 to 2147483647",
            Self::UnsignedInt => "a whole number from 0 to 2147483647",
            _ => "see the R4 data types",
        }
    }

    /// Whether `text`, with JSON's escapes resolved, is of this type. Strings and markdown are looked at where
    /// they are scanned, narrative has its own check.
    #[inline]
    pub(super) fn accepts_text(self, text: &[u8]) -> bool {
        match self {
            Self::Code => code(text),
            // `\S*`: R4 leaves the inside of a URI to its scheme.
            Self::Uri | Self::Url | Self::Canonical => {
                !text.is_empty() && !text.iter().any(u8::is_ascii_whitespace)
            }
            Self::Id => {
                let allowed = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
                matches!(text.len(), 1..=64) && text.iter().all(allowed)
            }
            Self::Date => calendar::date(text),
            Self::DateTime => calendar::date_time(text),
            Self::Instant => calendar::instant(text),
            Self::Time => calendar::time(text),
            Self::Oid => text.strip_prefix(b"urn:oid:").is_some_and(oid),
            Self::Uuid => text.strip_prefix(b"urn:uuid:").is_some_and(uuid),
            Self::Base64Binary => base64(text),
            _ => !text.is_empty(),
        }
    }
}

pub(super) fn digits_at_start(text: &[u8]) -> usize {
    text.iter().take_while(|c| c.is_ascii_digit()).count()
}

/// JSON's number, which is R4's decimal too.
pub(super) fn is_json_number(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits_at_start(digits);
    if whole == 0 || (whole > 1 && digits[0] == b'0') {
        return false;
    }
    let mut rest = &digits[whole..];
    if let [b'.', fraction @ ..] = rest {
        let count = digits_at_start(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            exponent => exponent,
        };
        return !exponent.is_empty() && digits_at_start(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// No space at either end, none but single spaces inside.
fn code(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return false };
    *first != b' '
        && *last != b' '
        && !text.iter().any(|c| c.is_ascii_whitespace() && *c != b' ')
        && !text.windows(2).any(|pair| pair == b"  ")
}

fn oid(arcs: &[u8]) -> bool {
    let mut arcs = arcs.split(|c| *c == b'.');
    let root = matches!(arcs.next(), Some([b'0'..=b'2']));
    let mut rest = arcs.peekable();
    let arc = |arc: &[u8]| {
        !arc.is_empty() && digits_at_start(arc) == arc.len() && (arc.len() == 1 || arc[0] != b'0')
    };
    root && rest.peek().is_some() && rest.all(arc)
}

/// R4 wants lower case.
fn uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => matches!(c, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The alphabet as a table: attachments are most of the bytes of some deliveries, and hold no pattern that a
/// processor could guess.
const BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut c = 0;
    while c < 256 {
        table[c] = (c as u8).is_ascii_alphanumeric() || c as u8 == b'+' || c as u8 == b'/';
        c += 1;
    }
    table
};

/// Groups of four, padded at the end only; white space may stand between, as in a wrapped attachment.
fn base64(text: &[u8]) -> bool {
    let white = |c: u8| matches!(c, b' ' | b'\n' | b'\r' | b'\t');
    let (mut rest, mut count) = (text, 0);
    loop {
        let run = rest.iter().position(|c| !BASE64[*c as usize]).unwrap_or(rest.len());
        count += run;
        rest = &rest[run..];
        match rest.split_first() {
            Some((c, after)) if white(*c) => rest = after,
            _ => break,
        }
    }
    let padding = rest.iter().filter(|c| **c == b'=').count();
    let only_padding = rest.iter().all(|c| *c == b'=' || white(*c));
    only_padding && count > 0 && padding <= 2 && (count + padding) % 4 == 0
}
