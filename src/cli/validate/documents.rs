//! From arguments to documents: what a directory holds, where a feed's lines end, what form a file has.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One resource as it is written.
pub(super) struct Document<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) form: Form,
    /// Of NDJSON, from 1
    pub(super) line: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Xml,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// What a file's name says of its content.
enum Named {
    One(Form),
    Lines,
    Nothing,
}

fn named(path: &Path) -> Named {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("json") => Named::One(Form::Json),
        Some("xml") => Named::One(Form::Xml),
        Some("ndjson") => Named::Lines,
        _ => Named::Nothing,
    }
}

/// The files that the arguments stand for, and what can't be searched for them.
pub(super) fn inputs(arguments: &[PathBuf]) -> (Vec<Input>, Vec<(String, io::Error)>) {
    let (mut inputs, mut unreadable) = (Vec::new(), Vec::new());
    for argument in arguments {
        if argument.as_os_str() == "-" {
            inputs.push(Input::Stdin);
        } else if argument.is_dir() {
            let before = inputs.len();
            let searched = search(argument, &mut inputs);
            let none = || io::Error::other("no .json, .xml or .ndjson file in this directory");
            if let Err(error) = searched {
                unreadable.push((argument.display().to_string(), error));
            } else if inputs.len() == before {
                unreadable.push((argument.display().to_string(), none()));
            }
        } else {
            inputs.push(Input::File(argument.clone()));
        }
    }
    (inputs, unreadable)
}

/// In the order of names; hidden ones are nobody's resources. A link to a directory could lead back up.
fn search(directory: &Path, inputs: &mut Vec<Input>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.retain(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            search(&path, inputs)?;
        } else if !matches!(named(&path), Named::Nothing) && !path.is_dir() {
            inputs.push(Input::File(path));
        }
    }
    Ok(())
}

/// Shows `take` one document after the other. Of NDJSON no more than a line is held at a time.
pub(super) fn each(input: &Input, mut take: impl FnMut(Document<'_>)) -> io::Result<()> {
    match input {
        Input::Stdin => unnamed(io::stdin().lock(), &mut take),
        Input::File(path) => match named(path) {
            Named::One(form) => {
                take(Document { bytes: &std::fs::read(path)?, form, line: None });
                Ok(())
            }
            Named::Lines => {
                lines(BufReader::with_capacity(BUFFER, File::open(path)?), Vec::new(), 0, &mut take)
            }
            Named::Nothing => unnamed(BufReader::with_capacity(BUFFER, File::open(path)?), &mut take),
        },
    }
}

const BUFFER: usize = 256 << 10;

/// `line`, which was already read, and the rest of them.
fn lines(
    mut reader: impl BufRead,
    mut line: Vec<u8>,
    before: u32,
    take: &mut impl FnMut(Document<'_>),
) -> io::Result<()> {
    let mut number = before;
    loop {
        if line.is_empty() {
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            number = number.saturating_add(1);
        }
        if !line.trim_ascii().is_empty() {
            take(Document { bytes: &line, form: Form::Json, line: Some(number) });
        }
        line.clear();
    }
}

/// The first bytes tell: `<` is XML; a first line that is JSON by itself begins NDJSON, which one resource on one
/// line is too; all else is one resource on many lines.
fn unnamed(mut reader: impl BufRead, take: &mut impl FnMut(Document<'_>)) -> io::Result<()> {
    let (mut text, mut number) = (Vec::new(), 0u32);
    let mut start = 0;
    while text[start..].trim_ascii().is_empty() {
        start = text.len();
        if reader.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        number = number.saturating_add(1);
    }
    let first = text[start..].strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text[start..]);
    let xml = first.trim_ascii_start().starts_with(b"<");
    if !xml && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok() {
        let line = text.split_off(start);
        return lines(reader, line, number, take);
    }
    reader.read_to_end(&mut text)?;
    take(Document { bytes: &text, form: if xml { Form::Xml } else { Form::Json }, line: None });
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<(Form, Option<u32>, usize)> {
        let mut seen = Vec::new();
        unnamed(text.as_bytes(), &mut |document: Document<'_>| {
            seen.push((document.form, document.line, document.bytes.trim_ascii().len()));
        })
        .unwrap();
        seen
    }

    #[test]
    fn the_first_bytes_tell_the_form() {
        assert_eq!(forms("\n <Patient/>\n"), [(Form::Xml, None, 10)]);
        assert_eq!(forms("\u{FEFF}<Patient/>")[0].0, Form::Xml);
        assert_eq!(forms("{\n\"a\":1\n}"), [(Form::Json, None, 9)]);
        assert_eq!(forms("{}"), [(Form::Json, Some(1), 2)]);
        assert_eq!(
            forms("\n{}\r\n\r\n{\"a\":\n{}"),
            [(Form::Json, Some(2), 2), (Form::Json, Some(4), 5), (Form::Json, Some(5), 2)]
        );
        // A byte order mark is the check's to refuse, not ours to lose.
        assert_eq!(forms("\u{FEFF}{}"), [(Form::Json, Some(1), 5)]);
        assert_eq!(forms(""), [(Form::Json, None, 0)], "nothing is no resource");
    }
}
