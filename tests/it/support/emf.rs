//! CloudWatch's embedded metric format, as its specification demands it:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::Value;

const UNITS: [&str; 5] = ["Count", "Milliseconds", "Seconds", "Bytes", "None"];

/// The documents among the lines of a log; each is checked.
pub fn documents(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| Some((line, serde_json::from_str::<Value>(line).ok()?)));
    lines
        .filter(|(_, document)| document.get("_aws").is_some())
        .map(|(line, document)| {
            assert!(line.len() < 256 << 10, "larger than an event of CloudWatch Logs");
            check(&document);
            document
        })
        .collect()
}

/// Panics with what is wrong.
pub fn check(document: &Value) {
    let wrong = |what: &str| -> ! { panic!("{what}: {document}") };
    let metadata = document["_aws"].as_object().unwrap_or_else(|| wrong("_aws is no object"));
    let timestamp = metadata["Timestamp"].as_u64().unwrap_or_else(|| wrong("Timestamp is no number"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    // CloudWatch takes two weeks of the past and two hours of the future.
    assert!(timestamp <= now + 7_200_000 && timestamp + 14 * 86_400_000 > now, "{timestamp} is not now");
    let directives =
        metadata["CloudWatchMetrics"].as_array().unwrap_or_else(|| wrong("no CloudWatchMetrics"));
    if directives.is_empty() {
        wrong("no directive");
    }
    for directive in directives {
        let directive = directive.as_object().unwrap_or_else(|| wrong("a directive is no object"));
        for name in directive.keys() {
            if !["Namespace", "Dimensions", "Metrics"].contains(&name.as_str()) {
                wrong(name);
            }
        }
        let namespace = directive["Namespace"].as_str().unwrap_or_else(|| wrong("Namespace"));
        assert!((1..=1024).contains(&namespace.len()), "{namespace}");
        for set in directive["Dimensions"].as_array().unwrap_or_else(|| wrong("Dimensions is no array")) {
            let set = set.as_array().unwrap_or_else(|| wrong("a set of dimensions is no array"));
            assert!(set.len() <= 30, "{set:?}");
            for dimension in set {
                let name = dimension.as_str().unwrap_or_else(|| wrong("a dimension is no string"));
                let value = document[name].as_str().unwrap_or_else(|| wrong(name));
                assert!(
                    (1..=250).contains(&name.len()) && (1..=1024).contains(&value.len()),
                    "{name}: {value}"
                );
                assert!(value.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{name}: {value}");
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap_or_else(|| wrong("Metrics is no array"));
        assert!((1..=100).contains(&metrics.len()), "{metrics:?}");
        for metric in metrics {
            let metric = metric.as_object().unwrap_or_else(|| wrong("a metric is no object"));
            for (key, value) in metric {
                let fine = match key.as_str() {
                    "Name" => value.is_string(),
                    "Unit" => value.as_str().is_some_and(|unit| UNITS.contains(&unit)),
                    "StorageResolution" => matches!(value.as_u64(), Some(1 | 60)),
                    _ => false,
                };
                if !fine {
                    wrong(key);
                }
            }
            let name = metric["Name"].as_str().unwrap();
            let numbers = match &document[name] {
                Value::Array(values) => values.len() <= 100 && values.iter().all(Value::is_number),
                value => value.is_number(),
            };
            if !numbers {
                wrong(name);
            }
        }
    }
}
