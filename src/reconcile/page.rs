//! The report as an HTML page that opens without a server: tables, and pictures as inline SVG. No scripts, nothing
//! from elsewhere.

use std::fmt::Write;

use super::finding::Kind;
use super::report::{Findings, NAMED, Report};

/// At most so many bars over time.
const BARS: i64 = 60;
const WIDTH: i64 = 720;
const HEIGHT: i64 = 180;
const LEFT: i64 = 180;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1c2430}\
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #d8dee6}\
td:first-child,th:first-child{text-align:left}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
.missing{fill:#c0392b}.extra{fill:#8e44ad}.stale{fill:#d68910}.altered{fill:#2471a3}svg text{font-size:12px;fill:#1c2430}\
.verdict{font-size:1.2rem}pre{white-space:pre-wrap}";

pub fn page(report: &Report, findings: &Findings) -> String {
    let mut html = String::from(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>lakehook reconcile</title><style>",
    );
    html.push_str(STYLE);
    html.push_str("</style></head><body><h1>Is the mirror equal?</h1>");
    let verdict = match (report.open(), report.differences()) {
        (0, 0) => "Yes: nothing differs.".to_owned(),
        (0, all) => format!("Yes: {all} differed, and all were repaired."),
        (open, all) => format!("No: {all} differ, {open} of them still."),
    };
    let _ = write!(
        html,
        "<p class=\"verdict\">{}</p><p>{}. From {} to {}.</p>",
        text(&verdict),
        text(report.extent.proves()),
        instant(report.started),
        instant(report.ended)
    );
    if report.differences() > 0 {
        html.push_str("<h2>By type</h2>");
        by_type(&mut html, report);
        html.push_str(
            "<h2>Over time</h2><p>When each came to differ: the last update at the side that has moved.</p>",
        );
        over_time(&mut html, findings);
    }
    html.push_str("<h2>Totals</h2><pre>");
    html.push_str(&text(&report.table()));
    html.push_str("</pre>");
    if !findings.first.is_empty() {
        named(&mut html, report, findings);
    }
    html.push_str("</body></html>\n");
    html
}

/// A bar a type, in pieces by kind.
fn by_type(html: &mut String, report: &Report) {
    let types: Vec<_> = report.types.iter().filter(|(_, totals)| !totals.differences.is_empty()).collect();
    let most = types.iter().map(|(_, totals)| totals.differences.values().sum::<u64>()).max().unwrap_or(1);
    let height = types.len() as i64 * 24 + 30;
    let _ = write!(
        html,
        "<svg role=\"img\" aria-label=\"Differences by type\" width=\"{}\" height=\"{height}\">",
        LEFT + WIDTH + 60
    );
    legend(html);
    for (row, (name, totals)) in types.iter().enumerate() {
        let y = 30 + row as i64 * 24;
        let _ = write!(html, "<text x=\"0\" y=\"{}\">{}</text>", y + 14, text(name));
        let mut x = LEFT;
        let mut all = 0;
        for kind in Kind::ALL {
            let n = totals.differences.get(&kind).copied().unwrap_or_default();
            let width = share(n, most, WIDTH);
            bar(html, kind, (x, y, width, 18), n, name);
            x += width;
            all += n;
        }
        let _ = write!(html, "<text x=\"{}\" y=\"{}\">{all}</text>", x + 6, y + 14);
    }
    html.push_str("</svg>");
}

/// Bars side by side, each a span of hours.
fn over_time(html: &mut String, findings: &Findings) {
    // What has no time is at hour 0, which no server's clock shows.
    let timed = || findings.hours.iter().filter(|(hour, _)| **hour > 0);
    let (Some((first, _)), Some((last, _))) = (timed().next(), timed().next_back()) else { return };
    let hours = (last - first) / BARS + 1;
    let mut bars = vec![[0_u64; 4]; usize::try_from((last - first) / hours + 1).unwrap_or(1)];
    for (hour, counts) in timed() {
        let bar = usize::try_from((hour - first) / hours).unwrap_or(0);
        for (sum, n) in bars[bar].iter_mut().zip(counts) {
            *sum += n;
        }
    }
    let most = bars.iter().map(|counts| counts.iter().sum::<u64>()).max().unwrap_or(1).max(1);
    let width = (WIDTH / bars.len() as i64).clamp(4, 40);
    let _ = write!(
        html,
        "<svg role=\"img\" aria-label=\"Differences over time\" width=\"{}\" height=\"{}\">",
        WIDTH + 60,
        HEIGHT + 60
    );
    legend(html);
    let label = |hour: i64| instant(Some(hour * 3_600_000));
    for (n, counts) in bars.iter().enumerate() {
        let mut y = HEIGHT + 30;
        let at = label(first + n as i64 * hours);
        for kind in Kind::ALL {
            let height = share(counts[kind as usize], most, HEIGHT);
            y -= height;
            bar(html, kind, (n as i64 * width, y, width - 1, height), counts[kind as usize], &at);
        }
    }
    let y = HEIGHT + 46;
    let _ = write!(
        html,
        "<text x=\"0\" y=\"{y}\">{}</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg><p>A bar is {hours} h; the highest is {most}.</p>",
        label(*first),
        label(*last)
    );
}

fn bar(html: &mut String, kind: Kind, (x, y, width, height): (i64, i64, i64, i64), n: u64, what: &str) {
    if n > 0 {
        let name = kind.name();
        let _ = write!(
            html,
            "<rect class=\"{name}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><title>{}: {n} {name}</title></rect>",
            text(what)
        );
    }
}

fn legend(html: &mut String) {
    for (n, kind) in Kind::ALL.into_iter().enumerate() {
        let (x, name) = (n * 90, kind.name());
        let _ = write!(
            html,
            "<rect class=\"{name}\" x=\"{x}\" y=\"4\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"14\">{name}</text>",
            x + 18
        );
    }
}

fn named(html: &mut String, report: &Report, findings: &Findings) {
    let _ = write!(html, "<h2>Which</h2>");
    if report.differences() > NAMED as u64 {
        let _ = write!(html, "<p>The first {NAMED}; the NDJSON report names all.</p>");
    }
    html.push_str("<table><tr><th>resource</th><th>kind</th><th>at the CDR</th><th>at HealthLake</th><th>holds</th><th>repair</th></tr>");
    for finding in &findings.first {
        let side = |version: &Option<String>, at| match version {
            Some(version) => format!("{} of {}", text(version), instant(at)),
            None => "–".to_owned(),
        };
        let holds = finding.holds_version.map(|version| format!("version {version}")).unwrap_or_default();
        let repair = serde_json::to_value(finding.repair).ok();
        let repair = repair.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{holds}</td><td>{} {}</td></tr>",
            text(&finding.key.to_string()),
            finding.kind.name(),
            side(&finding.cdr_version, finding.cdr_last_updated),
            side(&finding.healthlake_version, finding.healthlake_last_updated),
            text(&repair),
            text(finding.verdict.as_deref().unwrap_or_default())
        );
    }
    html.push_str("</table>");
}

/// Something is to be seen of whatever there is.
fn share(n: u64, most: u64, length: i64) -> i64 {
    match n {
        0 => 0,
        n => (i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(length)
            / i64::try_from(most.max(1)).unwrap_or(i64::MAX))
        .max(2),
    }
}

fn instant(at: Option<i64>) -> String {
    at.filter(|at| *at > 0)
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .map_or_else(|| "–".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
