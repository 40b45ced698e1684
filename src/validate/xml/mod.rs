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

use super::issue::{Issue, Refusal};
use super::place;
use element::Converter;

pub(super) const FHIR: &str = "http://hl7.org/fhir";
pub(super) const XHTML: &str = "http://www.w3.org/1999/xhtml";
pub(super) const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What ends the conversion: the first thing that is wrong.
#[derive(Debug)]
struct Wrong {
    at: usize,
    code: &'static str,
    text: String,
    /// No XML, or none that FHIR allows, as opposed to XML that is no valid resource.
    malformed: bool,
}

type Answer<T> = Result<T, Box<Wrong>>;

#[cold]
fn malformed<T>(at: usize, text: impl Into<String>) -> Answer<T> {
    Err(Box::new(Wrong { at, code: "structure", text: text.into(), malformed: true }))
}

#[cold]
fn invalid<T>(at: usize, text: impl Into<String>) -> Answer<T> {
    Err(Box::new(Wrong { at, code: "structure", text: text.into(), malformed: false }))
}

#[cold]
fn too_deep<T>(at: usize) -> Answer<T> {
    let text = "nested more deeply than this server allows".to_owned();
    Err(Box::new(Wrong { at, code: "too-costly", text, malformed: false }))
}

/// The refusal of bytes that are no text of XML.
pub(super) fn not_xml(bytes: &[u8], at: usize, text: &str) -> Refusal {
    let (line, column) = place::line_and_column(bytes, at);
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
    match converter.document() {
        Ok(()) => Ok(converter.out),
        Err(wrong) => {
            let (line, column) = place::line_and_column(text.as_bytes(), wrong.at);
            let issue = Issue {
                code: wrong.code,
                diagnostics: wrong.text,
                expression: converter.path(),
                line: Some(line),
                column: Some(column),
            };
            Err(Refusal { malformed: wrong.malformed, issues: vec![issue] })
        }
    }
}
