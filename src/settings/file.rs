//! The optional TOML file: its values become the flags' defaults, so that a flag and an environment variable
//! beat them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// A file that can't be used, with the key where it is one.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("--config: {path}: {source}; it is a TOML file with the flags' names as keys")]
    Unreadable { path: PathBuf, source: std::io::Error },
    // The parser's own text shows the line, and the line may hold a secret.
    #[error("--config: {path}, line {line}: not TOML: {problem}")]
    NotToml { path: PathBuf, line: usize, problem: String },
    #[error("--config: {path}: `{key}` is no setting of lakehook{near}")]
    Unknown { path: PathBuf, key: String, near: String },
    #[error(
        "--config: {path}: `{key}` is a table; keys are the flags' names, all at the top: healthlake-endpoint = \"…\""
    )]
    Table { path: PathBuf, key: String },
    #[error(
        "--config: {path}: `{key}` is neither a string, a whole number, true or false, nor a list of these"
    )]
    Shape { path: PathBuf, key: String },
    #[error("--config: {path}: `{key}`: {problem}")]
    Value { path: PathBuf, key: String, problem: String },
}

/// The file that was read, for error texts.
pub struct File {
    pub path: PathBuf,
    keys: Vec<String>,
}

impl File {
    pub fn sets(&self, setting: &str) -> bool {
        self.keys.iter().any(|key| key == setting)
    }
}

/// Keys and their values as text.
type Values = BTreeMap<String, Vec<String>>;

/// Puts the values of the file that the arguments or the environment name under the flags of every command.
pub fn with_file(command: Command, arguments: &[OsString]) -> Result<(Command, Option<File>), FileError> {
    let Some(path) = path(arguments) else { return Ok((command, None)) };
    let values = read(&path)?;
    let known: Vec<(&Command, &Arg, &str)> = command
        .get_subcommands()
        .flat_map(|subcommand| subcommand.get_arguments().map(move |argument| (subcommand, argument)))
        .filter_map(|(subcommand, argument)| Some((subcommand, argument, argument.get_long()?)))
        // Not the file's own name, nor what is asked of one run.
        .filter(|(_, argument, _)| argument.get_env().is_some() && argument.get_id() != "config")
        .collect();
    for (key, given) in &values {
        let Some((subcommand, argument, _)) = known.iter().find(|(.., name)| name == key) else {
            let near = near(known.iter().map(|(.., name)| *name), key);
            return Err(FileError::Unknown { path, key: key.clone(), near });
        };
        if let Err(problem) = try_value(subcommand, argument, key, given) {
            return Err(FileError::Value { path, key: key.clone(), problem });
        }
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| {
            subcommand.mut_args(|argument| match argument.get_long().and_then(|long| values.get(long)) {
                // A switch that the file leaves off needs no default.
                Some(given) if given == &["false"] && !argument.get_action().takes_values() => argument,
                Some(given) => {
                    // --help shows defaults; what is secret in the environment is so in the file.
                    let secret = argument.is_hide_env_values_set();
                    argument.default_values(given.clone()).hide_default_value(secret)
                }
                None => argument,
            })
        })
    });
    Ok((command, Some(File { path, keys: values.into_keys().collect() })))
}

/// As a flag on the command line, since clap takes its defaults for right.
fn try_value(command: &Command, argument: &Arg, key: &str, given: &[String]) -> Result<(), String> {
    if !argument.get_action().takes_values() {
        let switch = matches!(given, [one] if one == "true" || one == "false");
        return if switch {
            Ok(())
        } else {
            Err("it is a switch: write true or false, without quotes".into())
        };
    }
    if given.len() > 1 && !matches!(argument.get_action(), ArgAction::Append) {
        return Err("it takes one value, not a list".into());
    }
    let line = given.iter().map(|value| format!("--{key}={value}"));
    let error = match command.clone().try_get_matches_from(std::iter::once("lakehook".to_owned()).chain(line))
    {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let ours = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(name))
        if name.split_whitespace().next() == Some(&format!("--{key}")));
    if !ours || !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return Ok(());
    }
    let text = error.to_string();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    Err(lines.join(" "))
}

fn near<'a>(known: impl Iterator<Item = &'a str>, key: &str) -> String {
    let nearest = known.map(|name| (distance(name, key), name)).min();
    match nearest.filter(|(distance, _)| *distance <= 3) {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None => "; `lakehook serve --help` lists them".into(),
    }
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
    let table: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| FileError::NotToml {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1)),
        problem: error.message().to_owned(),
    })?;
    let mut values = Values::new();
    for (key, value) in table {
        let shape = || FileError::Shape { path: path.to_owned(), key: key.clone() };
        let texts = match value {
            toml::Value::Table(_) => return Err(FileError::Table { path: path.to_owned(), key }),
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
