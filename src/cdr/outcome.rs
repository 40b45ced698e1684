//! The OperationOutcome of an answer.

use serde_json::Value;

/// What an OperationOutcome says; empty where the body was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `issue.code` of its issues, each one once
    codes: Vec<String>,
    /// Severity and text of each issue. A CDR may quote a resource in them: for a terminal, not for a log.
    pub texts: Vec<String>,
}

/// A text is shown to people, not kept.
const LONGEST_TEXT: usize = 500;
const MOST_ISSUES: usize = 10;

impl Outcome {
    pub fn read(body: &[u8]) -> Self {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(_) => return Self::default(),
        };
        if value["resourceType"] != "OperationOutcome" {
            return Self::default();
        }
        let mut outcome = Self::default();
        for issue in value["issue"].as_array().into_iter().flatten().take(MOST_ISSUES) {
            if let Some(code) = issue["code"].as_str().filter(|code| is_code(code))
                && !outcome.codes.iter().any(|known| known == code)
            {
                outcome.codes.push(code.to_owned());
            }
            let text = [&issue["diagnostics"], &issue["details"]["text"]].into_iter().find_map(Value::as_str);
            let Some(text) = text else { continue };
            let severity = issue["severity"].as_str().filter(|severity| is_code(severity)).unwrap_or("error");
            outcome.texts.push(format!("{severity}: {}", printable(text)));
        }
        outcome
    }

    /// ` (invalid, processing)`, or nothing.
    pub(super) fn codes(&self) -> String {
        if self.codes.is_empty() { String::new() } else { format!(" ({})", self.codes.join(", ")) }
    }
}

fn is_code(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn printable(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST_TEXT).collect()
}
