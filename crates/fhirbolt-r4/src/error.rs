//! What fhirbolt said, without a value of the payload: serde quotes the offending value in its messages, and
//! that may be a patient's name.

use std::fmt;

/// The longest part of a field name that is repeated; names come from the payload too.
const NAME_LIMIT: usize = 64;

/// fhirbolt refused. `line` and `column` count from 1 as serde_json gives them; 0 where it gives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub message: String,
    pub line: usize,
    pub column: usize,
}

impl Error {
    pub(crate) fn panicked() -> Self {
        Error { message: "fhirbolt's model panicked".into(), line: 0, column: 0 }
    }

    pub(crate) fn not_utf8() -> Self {
        Error { message: "not UTF-8".into(), line: 0, column: 0 }
    }
}

impl From<fhirbolt::json::Error> for Error {
    fn from(error: fhirbolt::json::Error) -> Self {
        let text = error.to_string();
        let text = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
        // Only data errors are worded by visitors, who quote; serde_json's own are a fixed set of texts.
        let message = if error.is_data() { without_values(text) } else { text.to_owned() };
        Error { message, line: error.line(), column: error.column() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Keeps of a serde message what names the model: the kind of fault, the field, what was expected.
fn without_values(text: &str) -> String {
    for kind in ["unknown field", "missing field", "duplicate field"] {
        if let Some(rest) = text.strip_prefix(kind) {
            // A hostile name may itself hold backticks; then the part before the first will do.
            let name: String = rest.split('`').nth(1).unwrap_or("").chars().take(NAME_LIMIT).collect();
            return format!("{kind} `{name}`");
        }
    }
    let kind = ["invalid type", "invalid value", "invalid length", "unknown variant"]
        .into_iter()
        .find(|kind| text.starts_with(kind))
        .unwrap_or("not valid in the R4 model");
    // The expectation comes last and is the visitor's own text; the value before it may contain the same
    // word, so only what follows the last one is kept.
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}
