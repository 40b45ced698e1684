#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn lines(emf: Emf, events: impl FnOnce()) -> Vec<Value> {
    let out = Out::default();
    let clock: Clock = Arc::new(|| UNIX_EPOCH + Duration::from_millis(1_764_028_800_123));
    let subscriber = tracing_subscriber::registry().with(EmfLayer::new(emf, clock, out.clone()));
    tracing::subscriber::with_default(subscriber, events);
    let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(written.is_empty() || written.ends_with('\n'));
    written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn emf(dimensions: &[&str]) -> Emf {
    let dimensions = dimensions.iter().map(|set| Dimension::set(set).unwrap()).collect();
    Emf { namespace: "lakehook/test".into(), dimensions }
}

#[test]
fn a_delivery_is_one_document_with_all_that_the_log_tells() {
    let lines = lines(emf(&["verdict", "verdict+type"]), || {
        tracing::info!(
            target: "lakehook::delivery",
            key = %"Patient/p1", interaction = "upsert", source = "live", verdict = "mirrored",
            duration_ms = 12.5, attempts = 1, asked_cdr = true, "delivery"
        );
    });
    assert_eq!(
        lines,
        [json!({
            "_aws": {
                "Timestamp": 1_764_028_800_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "lakehook/test",
                    "Dimensions": [["Verdict"], ["Verdict", "ResourceType"]],
                    "Metrics": [
                        {"Name": "Deliveries", "Unit": "Count"},
                        {"Name": "Duration", "Unit": "Milliseconds"},
                    ],
                }],
            },
            "Deliveries": 1, "Duration": 12.5, "Verdict": "mirrored", "ResourceType": "Patient",
            "timestamp": "2025-11-25T00:00:00.123Z", "level": "INFO", "target": "lakehook::delivery",
            "key": "Patient/p1", "interaction": "upsert", "source": "live", "verdict": "mirrored",
            "duration_ms": 12.5, "attempts": 1, "asked_cdr": true, "message": "delivery",
        })]
    );
}

#[test]
fn what_is_no_delivery_counts_as_rejected_and_has_every_dimension() {
    let rejected = || {
        tracing::warn!(target: "lakehook::delivery", verdict = "unauthenticated", "rejected");
    };
    let line = &lines(emf(&["none", "verdict+type+interaction+source"]), rejected)[0];
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([[], ["Verdict", "ResourceType", "Interaction", "Source"]]));
    assert_eq!(directive["Metrics"], json!([{"Name": "Rejected", "Unit": "Count"}]));
    let members = ["Rejected", "Verdict", "ResourceType", "Interaction", "Source"].map(|name| &line[name]);
    assert_eq!(
        members.map(Value::to_string),
        ["1", "\"unauthenticated\"", "\"none\"", "\"none\"", "\"none\""]
    );
}

#[test]
fn types_without_end_share_a_dimension() {
    let lines = lines(emf(&["type"]), || {
        for n in 0..300 {
            tracing::info!(target: "lakehook::delivery", key = %format!("T{n}/1"), duration_ms = 1.0, "delivery");
        }
    });
    let types: HashSet<&str> = lines.iter().map(|line| line["ResourceType"].as_str().unwrap()).collect();
    assert_eq!(types.len(), MOST_TYPES + 1);
    assert_eq!(lines.last().unwrap()["ResourceType"], "other");
}

#[test]
fn sets_are_read_as_written() {
    use Dimension::{Type, Verdict};
    assert_eq!(Dimension::set("verdict+type"), Ok(vec![Verdict, Type]));
    assert_eq!(Dimension::set("none"), Ok(vec![]));
    for wrong in ["", "verdict+", "verdict+verdict", "Verdict", "id"] {
        assert!(Dimension::set(wrong).unwrap_err().starts_with("write some of verdict,"), "{wrong}");
    }
}
