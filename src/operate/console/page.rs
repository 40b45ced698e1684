//! The pages, as HTML. Keys and verdicts only: nothing of a resource's content is ever here.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::plot;
use super::redrive::MOST;
use crate::explain::{Explained, LetterLine, Side, code};
use crate::operate::Line;
use crate::operate::recent::Hour;

pub const STYLE: &str = include_str!("console.css");

fn shell(title: &str, refresh: bool, form_token: Option<&str>, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if refresh { meta http-equiv="refresh" content="10"; }
                title { (title) " · lakehook" }
                link rel="stylesheet" href="/console.css";
                link rel="icon" href="data:,";
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header {
                    p class="brand" { a href="/" { "lakehook" } }
                    @if let Some(token) = form_token {
                        form action="/console/resource" method="get" role="search" {
                            label for="key" { "Resource" }
                            input id="key" name="key" placeholder="Patient/123" required pattern="[A-Z][A-Za-z]*/[A-Za-z0-9.\\-]{1,64}" autocomplete="off";
                            button { "Why?" }
                        }
                        form action="/console/logout" method="post" {
                            input type="hidden" name="form_token" value=(token);
                            button class="plain" { "Log out" }
                        }
                    }
                }
                main id="main" { (body) }
            }
        }
    }
}

pub fn login(wrong: bool) -> Markup {
    let body = html! {
        h1 { "Log in" }
        form class="login" action="/console/login" method="post" {
            label for="token" { "Token" }
            input id="token" name="token" type="password" required autofocus autocomplete="current-password";
            button { "Log in" }
        }
        @if wrong { p class="bad" role="alert" { "That is not a token of this instance." } }
        p { "It is the one of " code { "--admin-token-file" } ", or, with a data directory, the one in its "
            code { "instance.json" } ", which is made anew at each start." }
    };
    shell("Log in", false, None, body)
}

pub struct Overview<'a> {
    pub detail: &'a Value,
    pub hour: &'a Hour,
    pub recent: &'a [Line],
    pub form_token: &'a str,
}

pub fn overview(overview: &Overview<'_>) -> Markup {
    let Overview { detail, hour, recent, form_token } = overview;
    let ready = detail["ready"] == Value::Bool(true);
    let body = html! {
        h1 {
            @if ready { span class="state good" { "ready" } } @else { span class="state bad" { "not ready" } }
            " " (env!("CARGO_PKG_VERSION"))
        }
        (plot::rates(&hour.steps))
        (plot::latencies(&hour.steps))
        section aria-labelledby="health" {
            h2 id="health" { "Health" }
            table { tbody { (health(detail, "")) } }
            @if detail["deadLetters"].is_object() { p { a href="/console/dead-letters" { "The dead letters" } } }
        }
        section aria-labelledby="verdicts" {
            h2 id="verdicts" { "Verdicts by type, since the start" }
            @if hour.verdicts.is_empty() { p { "No delivery yet." } } @else { (verdicts(hour)) }
        }
        section aria-labelledby="recent" {
            h2 id="recent" { "Last deliveries" }
            @if recent.is_empty() { p { "No delivery yet." } } @else { (deliveries(recent)) }
        }
    };
    shell("Overview", true, Some(form_token), body)
}

/// A row for each value of the admin address's `/readyz`.
fn health(value: &Value, path: &str) -> Markup {
    html! {
        @match value {
            Value::Object(entries) => @for (name, value) in entries {
                @let path = if path.is_empty() { words(name) } else { format!("{path}: {}", words(name)) };
                (health(value, &path))
            },
            Value::Array(items) => @for (n, value) in items.iter().enumerate() {
                (health(value, &format!("{path} {}", n + 1)))
            },
            value => tr { th scope="row" { (path) } td { (plain(value)) } },
        }
    }
}

/// `bytesInFlight` as people write it.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn verdicts(hour: &Hour) -> Markup {
    html! {
        div class="wide" { table {
            thead { tr { th scope="col" { "type" } th scope="col" { "verdict" } th scope="col" class="number" { "deliveries" } } }
            tbody {
                @for (resource_type, verdicts) in &hour.verdicts {
                    @for (verdict, count) in verdicts {
                        tr { td { (resource_type) } td { (named(verdict)) } td class="number" { (count) } }
                    }
                }
            }
        } }
    }
}

/// A verdict with what it means, for whoever points at it.
fn named(verdict: &str) -> Markup {
    match code(verdict) {
        Some(code) => html! { a href=(format!("/console/code?name={}", code.name)) { (verdict) } },
        None => html! { (verdict) },
    }
}

fn deliveries(lines: &[Line]) -> Markup {
    html! {
        div class="wide" { table {
            thead { tr {
                th scope="col" { "at" } th scope="col" { "resource" } th scope="col" { "version" }
                th scope="col" { "from" } th scope="col" { "verdict" } th scope="col" class="number" { "HealthLake" }
                th scope="col" class="number" { "ms" }
            } }
            tbody { @for line in lines { tr {
                td { (line.at.strftime("%H:%M:%S")) }
                td { @if let Some(key) = &line.key { a href=(format!("/console/resource?key={key}")) { (key) } } }
                td { (line.version_id.as_deref().unwrap_or_default()) }
                td { (line.source) }
                td { (named(&line.verdict)) }
                td class="number" { @if let Some(status) = line.healthlake_status { (status) } }
                td class="number" { (format!("{:.1}", line.milliseconds)) }
            } } }
        } }
    }
}

pub fn resource(explained: &Explained, form_token: &str, sent: Option<&str>) -> Markup {
    let Explained { key, deliveries: lines, order, cdr, healthlake, filter_rule, letters: kept, advice } =
        explained;
    let body = html! {
        h1 { (key) }
        @if let Some(sent) = sent { p role="status" class="state" { "Sent what the CDR has now: " (named(sent)) } }
        h2 { "What follows" }
        ul { @for line in advice { li { (line) } } }
        h2 { "Where it stands" }
        table { tbody {
            tr { th scope="row" { "CDR" } td { (cdr.as_ref().map_or("not asked: no --cdr-url".into(), Side::told)) } }
            tr { th scope="row" { "HealthLake" } td { (healthlake.told()) } }
            tr { th scope="row" { "remembered" } td { (order.told()) } }
            @if let Some(rule) = filter_rule {
                tr { th scope="row" { "filter" } td { "kept out by " code { "--filter-" (rule) } } }
            }
        } }
        @if cdr.is_some() {
            form action="/console/resend" method="post" {
                input type="hidden" name="form_token" value=(form_token);
                input type="hidden" name="key" value=(key);
                button { "Send what the CDR has now" }
            }
        }
        @if !kept.is_empty() { h2 { "Its dead letters" } (letters(kept, form_token)) }
        h2 { "Its last deliveries" }
        @if lines.is_empty() { p { "This instance has seen none since its start." } } @else { (deliveries(lines)) }
    };
    shell(key, false, Some(form_token), body)
}

fn letters(lines: &[LetterLine], form_token: &str) -> Markup {
    html! {
        div class="wide" { table {
            thead { tr {
                th scope="col" { "last came" } th scope="col" { "resource" } th scope="col" { "version" }
                th scope="col" { "what" } th scope="col" { "refused as" } th scope="col" { "issues" }
                th scope="col" class="number" { "times" } th scope="col" { "letter" } th scope="col" { "again" }
            } }
            tbody { @for line in lines { tr {
                td { (line.last.strftime("%F %H:%M:%S")) }
                td { a href=(format!("/console/resource?key={}", line.key)) { (line.key) } }
                td { (line.version_id.as_deref().unwrap_or_default()) }
                td { (line.interaction) }
                td { (named(&line.reason)) }
                td { (line.codes.join(", ")) }
                td class="number" { (line.attempts) }
                td { code { (line.id) } }
                td { (send_again(form_token, Some(&line.id), "Redrive")) }
            } } }
        } }
    }
}

fn send_again(form_token: &str, letter: Option<&str>, button: &str) -> Markup {
    html! {
        form action="/console/redrive" method="post" {
            input type="hidden" name="form_token" value=(form_token);
            @if let Some(letter) = letter {
                input type="hidden" name="letter" value=(letter);
                button aria-label=(format!("{button} letter {letter}")) { (button) }
            } @else {
                button { (button) }
            }
        }
    }
}

/// What became of letters that were sent again.
pub struct Redriven {
    pub summary: String,
    /// By resource, what did not go as it should
    pub told: Vec<(String, String)>,
}

/// None of them: a queue, in which looking would hide them.
pub fn dead_letters(lines: Option<&[LetterLine]>, form_token: &str, sent: Option<&Redriven>) -> Markup {
    let body = html! {
        h1 { "Dead letters" }
        @if let Some(Redriven { summary, told }) = sent {
            p role="status" class="state" { (summary) }
            @if !told.is_empty() { ul { @for (key, text) in told { li {
                a href=(format!("/console/resource?key={key}")) { (key) } " " (text)
            } } } }
        }
        @match lines {
            None => p { "They are in a queue, and looking would hide them from others: " code { "lakehook dead-letters list" } " does it on demand." },
            Some([]) => p { "None." },
            Some(lines) => {
                p { "The last ones. Redriving sends what the CDR has now, or, without " code { "--cdr-url" }
                    ", what was kept, and removes what is settled. " code { "lakehook dead-letters redrive" }
                    " does so for many, and with more patience." }
                (send_again(form_token, None, &format!("Redrive these, {MOST} resources at the most")))
                (letters(lines, form_token))
            }
        }
    };
    shell("Dead letters", false, Some(form_token), body)
}

pub fn code_page(name: &str, form_token: &str) -> Option<Markup> {
    let code = code(name)?;
    let body = html! {
        h1 { (code.name) }
        // Our own text: Markdown of a few signs.
        @for part in code.plain().split("- ").filter(|part| !part.trim().is_empty()) { p { (part.trim()) } }
    };
    Some(shell(code.name, false, Some(form_token), body))
}

pub fn message(title: &str, text: &str, form_token: Option<&str>) -> Markup {
    shell(
        title,
        false,
        form_token,
        html! { h1 { (title) } p { (text) } p { (PreEscaped("<a href=\"/\">Overview</a>")) } },
    )
}
