//! A log event as one line of JSON: `timestamp`, `level`, `message`, its fields, `target`. Written straight into the
//! line; the subscriber's own JSON goes through serde piece by piece, at three times the cost, on every delivery.

use std::fmt::{self, Debug, Display, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

pub struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        write!(
            writer,
            "{{\"timestamp\":\"{:.6}\",\"level\":\"{}\"",
            jiff::Timestamp::now(),
            metadata.level()
        )?;
        let mut fields = Fields { out: &mut writer, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        writer.write_str(",\"target\":\"")?;
        writer.write_str(metadata.target())?;
        writer.write_str("\"}\n")
    }
}

struct Fields<'a, W> {
    out: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    fn bare(&mut self, field: &Field, value: impl Display) {
        self.write(|out| write!(out, ",\"{}\":{value}", field.name()));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.write(|out| {
            write!(out, ",\"{}\":\"", field.name())?;
            Escaped(&mut *out).write_fmt(value)?;
            out.write_char('"')
        });
    }

    fn write(&mut self, write: impl FnOnce(&mut W) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = write(self.out);
        }
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(|out| {
            for part in [",\"", field.name(), "\":\""] {
                out.write_str(part)?;
            }
            Escaped(&mut *out).write_str(value)?;
            out.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field, value),
            false => self.bare(field, "null"),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// What is written becomes the inside of a JSON string.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut done = 0;
        for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| matches!(byte, 0..0x20 | b'"' | b'\\'))
        {
            self.0.write_str(&text[done..at])?;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                control => write!(self.0, "\\u{control:04x}")?,
            }
            done = at + 1;
        }
        self.0.write_str(&text[done..])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// The one line that `log` writes.
    fn line(log: impl FnOnce()) -> Value {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().event_format(JsonLine).with_writer(lines.clone()).finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_kind_of_field_is_json() {
        let error = io::Error::other("a \"quoted\" error");
        let written = line(|| {
            tracing::warn!(
                target: "lakehook::delivery", text = "a\\b", none = None::<u64>, some = Some(7_u64), minus = -1,
                yes = true, half = 0.5, nan = f64::NAN, error = &error as &dyn std::error::Error,
                debug = ?["x"], display = %"d", "message {}", 1
            );
        });
        let at: jiff::Timestamp = written["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(at <= jiff::Timestamp::now());
        let expected = json!({
            "timestamp": written["timestamp"], "level": "WARN", "message": "message 1", "text": "a\\b", "some": 7,
            "minus": -1, "yes": true, "half": 0.5, "nan": null, "error": "a \"quoted\" error", "debug": "[\"x\"]",
            "display": "d", "target": "lakehook::delivery",
        });
        assert_eq!(written, expected);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let written = line(|| tracing::info!(text, display = %text, "message"));
            prop_assert_eq!(&written["text"], &json!(text));
            prop_assert_eq!(&written["display"], &json!(text));
        }
    }
}
