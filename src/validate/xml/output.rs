//! JSON, written: only what the conversion needs.

use std::io::Write;

use crate::validate::primitive::{Form, Primitive, is_json_number};

/// Opens a member of the object that is being written.
pub(super) fn key(out: &mut Vec<u8>, prefix: &str, name: &str) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A comma, unless what comes is the first of its object or array.
pub(super) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// A primitive in the form that JSON has for its type, digit for digit. What does not have that form becomes a
/// string, and the check that follows says what is wrong with it.
pub(super) fn primitive(out: &mut Vec<u8>, primitive: Primitive, value: &str) {
    let literal = match primitive.form() {
        Form::Boolean => matches!(value, "true" | "false"),
        Form::Number => is_json_number(value.as_bytes()),
        Form::Text => false,
    };
    match literal {
        true => out.extend_from_slice(value.as_bytes()),
        false => string(out, value),
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|c| *c < 0x20 || matches!(c, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            c @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', c]),
            c => write!(out, "\\u{c:04x}").expect("a Vec takes every byte"),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
