//! How the log is written.

use clap::Args;

use super::lambda::on_lambda;
use crate::operate::telemetry::{Lines, LogFormat};
use crate::operate::{Dimension, Emf};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// pretty, json, or emf: JSON with metrics for CloudWatch [default: pretty on a terminal, emf on AWS Lambda, else json]
    #[arg(long, env = "LAKEHOOK_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Levels by target: info,lakehook::export=debug,lakehook::subscription=debug; can be changed at run time
    #[arg(long, env = "LAKEHOOK_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// CloudWatch's namespace of the metrics that emf makes
    #[arg(long, env = "LAKEHOOK_EMF_NAMESPACE", value_name = "NAME", default_value = "lakehook", value_parser = namespace)]
    pub emf_namespace: String,
    /// Their sets of dimensions, of verdict, type, interaction and source: verdict,verdict+type; or none
    #[arg(
        long,
        env = "LAKEHOOK_EMF_DIMENSIONS",
        value_name = "SETS",
        default_value = "verdict",
        value_delimiter = ',',
        value_parser = set
    )]
    pub emf_dimensions: Vec<DimensionSet>,
}

/// One set of dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionSet(Vec<Dimension>);

fn set(text: &str) -> Result<DimensionSet, String> {
    Dimension::set(text).map(DimensionSet)
}

/// As CloudWatch takes it.
fn namespace(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/#:".contains(&b);
    let fine = (1..=255).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(':');
    if !fine || text.starts_with("AWS/") {
        return Err("write 1 to 255 of letters, digits, . _ - / # and :, not beginning with AWS/".into());
    }
    Ok(text.to_owned())
}

impl LogArgs {
    /// None: as a terminal or its absence suggests.
    pub fn lines(&self) -> Option<Lines> {
        let emf = || {
            Lines::Emf(Emf {
                namespace: self.emf_namespace.clone(),
                dimensions: self.emf_dimensions.iter().map(|set| set.0.clone()).collect(),
            })
        };
        match self.log_format {
            Some(LogFormat::Pretty) => Some(Lines::Pretty),
            Some(LogFormat::Json) => Some(Lines::Json),
            Some(LogFormat::Emf) => Some(emf()),
            None => on_lambda().then(emf),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_what_cloudwatch_takes() {
        for fine in ["lakehook", "Clinic/lakehook", "a#b:c.d_e-f"] {
            assert_eq!(namespace(fine).unwrap(), fine);
        }
        for wrong in ["", ":a", "AWS/lakehook", "a b", "ä", &"x".repeat(256)] {
            assert!(namespace(wrong).is_err(), "{wrong}");
        }
    }
}
