//! FHIR's XML as FHIR's JSON, so that everything after it has one form to deal with.
//!
//! Driven by the same table as the check of JSON: names, order, what repeats and what stands in an attribute are
//! looked at here; the grammars of values are left to the check that the result goes through next. Not fhirbolt's
//! own reader, which has no bound on depth, takes documents that were cut, and alters narrative.

mod attributes;
mod element;
mod narrative;
mod output;
mod run;
mod source;

use super::issue::{ISSUE_LIMIT, Issue, Refusal};
use super::place;
use element::Converter;

pub(super) const FHIR: &str = "http://hl7.org/fhir";
pub(super) const XHTML: &str = "http://www.w3.org/1999/xhtml";
pub(super) const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Something that is wrong. Where it leaves clear what comes next (`recoverable`) it is noted and the reader goes on,
/// although its JSON is worth nothing from then on; else it ends the conversion.
#[derive(Debug)]
struct Wrong {
    at: usize,
    code: &'static str,
    text: String,
    kind: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// No XML, or none that FHIR allows.
    Malformed,
    /// XML, but beyond a bound.
    Final,
    /// XML that is no valid resource.
    Recoverable,
}

type Answer<T> = Result<T, Box<Wrong>>;

/// What is wrong, and the path of where.
struct Noted(Box<Wrong>, Option<String>);

#[cold]
fn malformed<T>(at: usize, text: impl Into<String>) -> Answer<T> {
    Err(Box::new(Wrong { at, code: "structure", text: text.into(), kind: Severity::Malformed }))
}

#[cold]
fn invalid<T>(at: usize, text: impl Into<String>) -> Answer<T> {
    Err(Box::new(Wrong { at, code: "structure", text: text.into(), kind: Severity::Recoverable }))
}

#[cold]
fn too_deep<T>(at: usize) -> Answer<T> {
    let text = "nested more deeply than this server allows".to_owned();
    Err(Box::new(Wrong { at, code: "too-costly", text, kind: Severity::Final }))
}

/// The refusal of bytes that are no text of XML.
pub(super) fn not_xml(bytes: &[u8], at: usize, text: &str) -> Refusal {
    let (line, column) = place::lines_and_columns(bytes, [at].into_iter())[0];
    let issue = Issue {
        code: "structure",
        diagnostics: text.to_owned(),
        expression: None,
        line: Some(line),
        column: Some(column),
    };
    Refusal { malformed: true, issues: vec![issue] }
}

/// The JSON of the one resource in `text`.
pub(super) fn to_json(text: &str, max_depth: u32) -> Result<Vec<u8>, Refusal> {
    let mut converter = Converter::new(text, max_depth);
    if let Err(wrong) = converter.document() {
        converter.note(wrong);
    }
    if converter.noted.is_empty() { Ok(converter.out) } else { Err(refusal(text, converter.noted)) }
}

#[cold]
fn refusal(text: &str, mut noted: Vec<Noted>) -> Refusal {
    noted.sort_by_key(|Noted(wrong, _)| wrong.at);
    let malformed = noted.iter().any(|Noted(wrong, _)| wrong.kind == Severity::Malformed);
    let places = place::lines_and_columns(text.as_bytes(), noted.iter().map(|Noted(wrong, _)| wrong.at));
    let issues = noted
        .into_iter()
        .zip(places)
        .map(|(Noted(wrong, expression), (line, column))| Issue {
            code: wrong.code,
            diagnostics: wrong.text,
            expression,
            line: Some(line),
            column: Some(column),
        })
        .take(ISSUE_LIMIT)
        .collect();
    Refusal { malformed, issues }
}
