//! What is wrong with a setting.

/// Names the setting, where its value came from where that is known, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("--{setting}{from}: {problem}")]
pub struct SettingsError {
    setting: &'static str,
    from: String,
    problem: String,
}

impl SettingsError {
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, from: String::new(), problem: problem.into() }
    }

    /// The environment variable or file that the value came from, as `matches` knows it.
    pub fn located(mut self, source: Option<&str>) -> Self {
        if let Some(source) = source {
            self.from = format!(" ({source})");
        }
        self
    }

    pub fn setting(&self) -> &'static str {
        self.setting
    }
}
