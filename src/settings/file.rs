//! The optional TOML file: its values become the flags' defaults, so that a flag and an environment variable
//! beat them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;

/// A file that can't be used, with the key where it is one.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("--config: {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("--config: {path}: {source}")]
    NotToml { path: PathBuf, source: Box<toml::de::Error> },
    #[error("--config: {path}: `{key}` is no setting of this command{near}")]
    Unknown { path: PathBuf, key: String, near: String },
    #[error("--config: {path}: `{key}` is neither a string, a number, true or false, nor a list of these")]
    Shape { path: PathBuf, key: String },
}

/// Keys and their values as text.
pub type Values = BTreeMap<String, Vec<String>>;

/// Puts the values of the file that the arguments or the environment name under `subcommand`'s flags.
pub fn with_file(command: Command, arguments: &[OsString]) -> Result<(Command, Option<PathBuf>), FileError> {
    let Some(path) = path(arguments) else { return Ok((command, None)) };
    let values = read(&path)?;
    let known: Vec<String> = command
        .get_subcommands()
        .flat_map(|subcommand| subcommand.get_arguments())
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .collect();
    if let Some(key) = values.keys().find(|key| !known.contains(key)) {
        let near = known
            .iter()
            .map(|name| (distance(name, key), name))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, name)| format!("; did you mean `{name}`?"))
            .unwrap_or_default();
        return Err(FileError::Unknown { path, key: key.clone(), near });
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| {
            subcommand.mut_args(|argument| match argument.get_long().and_then(|long| values.get(long)) {
                // A switch that the file leaves off needs no default.
                Some(given) if given == &["false"] && !argument.get_action().takes_values() => argument,
                Some(given) => argument.default_values(given.clone()),
                None => argument,
            })
        })
    });
    Ok((command, Some(path)))
}

fn path(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(|path| PathBuf::from(&*path));
        }
        if let Some(path) = argument.strip_prefix("--config=") {
            return Some(path.into());
        }
    }
    std::env::var_os("LAKEHOOK_CONFIG").filter(|path| !path.is_empty()).map(Into::into)
}

fn read(path: &Path) -> Result<Values, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|source| FileError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
    let mut values = Values::new();
    for (key, value) in table {
        let shape = || FileError::Shape { path: path.to_owned(), key: key.clone() };
        let texts = match value {
            toml::Value::Array(items) => items.iter().map(text_of).collect::<Option<Vec<_>>>(),
            one => text_of(&one).map(|text| vec![text]),
        };
        values.insert(key.clone(), texts.ok_or_else(shape)?);
    }
    Ok(values)
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Edits between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_near_its_name() {
        assert_eq!(distance("deadline", "deadlin"), 1);
        assert_eq!(distance("max-body", "max-bodies"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
