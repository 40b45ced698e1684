//! Plots as SVG, made here: no script runs in the page.

use maud::{Markup, html};

use crate::operate::series::{STEP, Step};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 6.0;

fn height(share: f64) -> f64 {
    TOP + (HEIGHT - BOTTOM - TOP) * (1.0 - share)
}

/// One line of a plot: its CSS class and its values, none where there is nothing to show.
struct Line {
    class: &'static str,
    label: &'static str,
    values: Vec<Option<f64>>,
}

pub fn rates(steps: &[Step]) -> Markup {
    let line = |class, label, ending: usize| Line {
        class,
        label,
        values: steps.iter().map(|step| Some(step.endings[ending] as f64 / STEP.as_secs_f64())).collect(),
    };
    let lines =
        [line("settled", "settled", 0), line("refused", "refused", 1), line("again", "to be sent again", 2)];
    plot("Deliveries a second, last hour", "/s", &lines)
}

pub fn latencies(steps: &[Step]) -> Markup {
    let line = |class, label, share| Line {
        class,
        label,
        values: steps.iter().map(|step| step.quantile(share)).collect(),
    };
    let lines = [line("p50", "half of them", 0.5), line("p99", "99 of 100", 0.99)];
    plot("Milliseconds a delivery took, last hour", " ms", &lines)
}

fn plot(title: &str, unit: &str, lines: &[Line]) -> Markup {
    let values = lines.iter().flat_map(|line| line.values.iter().flatten());
    let top = nice(values.copied().fold(0.0, f64::max));
    let last = |line: &Line| line.values.iter().rev().flatten().next().copied();
    let newest: Vec<String> = lines
        .iter()
        .map(|line| match last(line) {
            Some(value) => format!("{} {value:.1}{unit}", line.label),
            None => format!("{}: none", line.label),
        })
        .collect();
    let newest = newest.join(", ");
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{title}. Now: {newest}.")) {
                @for share in [0.0, 0.5, 1.0] {
                    @let y = height(share);
                    line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (label(top * share)) }
                }
                text x=(LEFT) y=(HEIGHT - 4.0) { "an hour ago" }
                text x=(WIDTH) y=(HEIGHT - 4.0) text-anchor="end" { "now" }
                @for line in lines {
                    @for path in paths(&line.values, top) {
                        polyline class=(line.class) points=(path) {}
                    }
                }
            }
            p class="legend" {
                @for (line, newest) in lines.iter().zip(newest.split(", ")) {
                    span class=(line.class) { (newest) } " "
                }
            }
        }
    }
}

/// A polyline for each stretch without gaps.
fn paths(values: &[Option<f64>], top: f64) -> Vec<String> {
    let step = (WIDTH - LEFT - RIGHT) / (values.len().max(2) - 1) as f64;
    let mut paths = Vec::new();
    let mut path = String::new();
    for (n, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                let (x, y) = (LEFT + n as f64 * step, height(value / top));
                path.push_str(&format!("{x:.1},{y:.1} "));
                // A single value would be no line.
                if values.get(n + 1).is_none_or(Option::is_none) && !path.trim_end().contains(' ') {
                    path.push_str(&format!("{:.1},{y:.1} ", x - 3.0));
                }
            }
            None if !path.is_empty() => paths.push(std::mem::take(&mut path)),
            None => {}
        }
    }
    paths.extend(Some(path).filter(|path| !path.is_empty()));
    paths
}

/// The next of 1, 2, 5, 10, 20 … above.
fn nice(value: f64) -> f64 {
    let mut bound = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if value <= bound {
            break;
        }
        bound *= factor;
    }
    bound
}

fn label(value: f64) -> String {
    if value >= 10.0 || value == value.round() { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_in_round_numbers() {
        assert_eq!(
            [0.0, 0.4, 1.5, 3.0, 7.0, 99.0, 101.0].map(nice),
            [1.0, 1.0, 2.0, 5.0, 10.0, 100.0, 200.0]
        );
    }

    #[test]
    fn gaps_part_a_line() {
        let paths = paths(&[Some(1.0), Some(2.0), None, None, Some(1.0), None], 2.0);
        assert_eq!(paths.len(), 2, "{paths:?}");
        assert_eq!(paths[1].split_whitespace().count(), 2, "a dot is a short line");
    }
}
