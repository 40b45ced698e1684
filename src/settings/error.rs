//! What is wrong with a setting.

/// Names the setting, where its value came from where that is known, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("--{setting}{from}{}{problem}{other_from}", separator(problem))]
pub struct SettingsError {
    setting: &'static str,
    from: String,
    problem: String,
    other: Option<&'static str>,
    other_from: String,
}

impl SettingsError {
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, from: String::new(), problem: problem.into(), other: None, other_from: String::new() }
    }

    /// Another setting that it does not go with.
    pub fn with(mut self, other: &'static str) -> Self {
        self.other = Some(other);
        self
    }

    /// The environment variable or file that the value came from, as `matches` knows it.
    pub fn located(mut self, source: Option<&str>) -> Self {
        if let Some(source) = source {
            self.from = format!(" ({source})");
        }
        self
    }

    /// Where the other setting's value came from.
    pub fn other_located(mut self, source: Option<&str>) -> Self {
        if let (Some(other), Some(source)) = (self.other, source) {
            self.other_from = format!(" (--{other} is {source})");
        }
        self
    }

    pub fn other(&self) -> Option<&'static str> {
        self.other
    }

    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

/// "--deadline is below 100ms", but "--token-file: /run/token: no such file".
fn separator(problem: &str) -> &'static str {
    let verb = ["is ", "has ", "needs ", "carries "].iter().any(|verb| problem.starts_with(verb));
    if verb { " " } else { ": " }
}
