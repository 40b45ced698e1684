//! Where traces go. OpenTelemetry's own variables hold too; the flag beats them.

use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::{Settings, SettingsError, build};
use crate::operate::otlp::Collector;

const SETTING: &str = "otlp-endpoint";
/// For one batch, as OpenTelemetry has it
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct OtlpArgs {
    /// OpenTelemetry collector that takes OTLP over http/protobuf, as http://127.0.0.1:4318 [default: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces]
    #[arg(long, env = "LAKEHOOK_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// The collector, where one is named and nothing switches traces off.
pub fn collector(settings: &Settings) -> Result<Option<Collector>, SettingsError> {
    let variable = |name: &str| std::env::var(name).ok();
    let Some((url, timeout)) = named(settings.otlp.otlp_endpoint.as_deref(), variable)? else {
        return Ok(None);
    };
    Ok(Some(Collector { url, timeout, trust: build::trust(settings)? }))
}

fn named(
    flag: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<(Url, Duration)>, SettingsError> {
    let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    let own_first = |of_traces: &str, of_all: &str| variable(of_traces).or_else(|| variable(of_all));
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|text| text.eq_ignore_ascii_case("none"));
    let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = flag.map(str::to_owned).filter(|text| !text.is_empty());
    let base = base.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|_| whole.is_none()));
    let url = match (off, base, whole) {
        (true, ..) | (_, None, None) => return Ok(None),
        (_, Some(base), _) => below(&url(&base)?),
        (_, None, Some(whole)) => url(&whole)?,
    };
    if let Some(protocol) = own_first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        && protocol != "http/protobuf"
    {
        return Err(SettingsError::new(
            SETTING,
            format!(
                "takes http/protobuf only, and OTEL_EXPORTER_OTLP_PROTOCOL asks for `{protocol}`: unset it, and name the collector's HTTP port, mostly 4318"
            ),
        ));
    }
    let timeout = own_first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
    let timeout = timeout.and_then(|text| text.trim().parse().ok()).map_or(TIMEOUT, Duration::from_millis);
    Ok(Some((url, timeout)))
}

fn url(text: &str) -> Result<Url, SettingsError> {
    let error = |problem: String| SettingsError::new(SETTING, problem);
    let url = Url::parse(text)
        .map_err(|problem| error(format!("is not a URL ({problem}); write it as http://127.0.0.1:4318")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(error("is neither http:// nor https://; write it as http://127.0.0.1:4318".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error(
            "carries a user name or password; put what the collector asks for into OTEL_EXPORTER_OTLP_HEADERS"
                .into(),
        ));
    }
    Ok(url)
}

/// `{base}/v1/traces`, which may be there already.
fn below(base: &Url) -> Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    if !path.ends_with("/v1/traces") {
        url.set_path(&format!("{path}/v1/traces"));
    }
    url
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        named(flag, variable)
            .map(|found| found.map(|(url, _)| url.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_named_is_off() {
        assert_eq!(asked(None, &[]), Ok(None));
        assert_eq!(asked(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(asked(Some("http://c:4318"), &[off]), Ok(None), "{off:?}");
        }
    }

    #[test]
    fn the_flag_comes_first_then_the_variable_for_traces_then_the_one_for_all() {
        let (all, traces) = (
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/x/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/own"),
        );
        assert_eq!(asked(None, &[all]).unwrap().unwrap(), "http://all:4318/x/v1/traces");
        assert_eq!(asked(None, &[all, traces]).unwrap().unwrap(), "https://traces/own");
        for flag in ["http://flag:4318", "http://flag:4318/", "http://flag:4318/v1/traces"] {
            assert_eq!(asked(Some(flag), &[all, traces]).unwrap().unwrap(), "http://flag:4318/v1/traces");
        }
    }

    #[test]
    fn what_can_not_be_is_said() {
        for (flag, variables, says) in [
            (Some("collector:4318"), &[][..], "neither http:// nor https://"),
            (Some("not a url"), &[], "is not a URL"),
            (Some("http://u:p@c"), &[], "OTEL_EXPORTER_OTLP_HEADERS"),
            (Some("http://c:4317"), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "4318"),
        ] {
            let error = asked(flag, variables).unwrap_err();
            assert!(error.contains("--otlp-endpoint") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_time_for_a_batch_is_in_milliseconds() {
        let timeout = |set: Option<&str>| {
            named(Some("http://c"), |name| {
                set.filter(|_| name == "OTEL_EXPORTER_OTLP_TIMEOUT").map(str::to_owned)
            })
            .unwrap()
            .unwrap()
            .1
        };
        assert_eq!(timeout(Some("250")), Duration::from_millis(250));
        assert_eq!(timeout(None), TIMEOUT);
    }
}
