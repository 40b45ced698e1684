//! What is mirrored and what is not.

use clap::Args;

use super::SettingsError;
use crate::delivery::is_resource_type;
use crate::filter::{Filter, Label};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// Resource types to mirror; others are answered 200 and kept out [default: all]
    #[arg(long, env = "LAKEHOOK_FILTER_TYPES", value_name = "TYPES", value_delimiter = ',')]
    pub filter_types: Vec<String>,
    /// Resource types to keep out
    #[arg(long, env = "LAKEHOOK_FILTER_DENY_TYPES", value_name = "TYPES", value_delimiter = ',')]
    pub filter_deny_types: Vec<String>,
    /// Mirror only what has one of these labels in meta.security: system|code, code in any system, |code without a system
    #[arg(long, env = "LAKEHOOK_FILTER_SECURITY_LABELS", value_name = "LABELS", value_delimiter = ',', value_parser = Label::parse)]
    pub filter_security_labels: Vec<Label>,
    /// Keep out what has one of these labels; what is mirrored already is deleted when it gets one
    #[arg(long, env = "LAKEHOOK_FILTER_DENY_SECURITY_LABELS", value_name = "LABELS", value_delimiter = ',', value_parser = Label::parse)]
    pub filter_deny_security_labels: Vec<Label>,
}

impl FilterArgs {
    pub fn filter(&self) -> Result<Filter, SettingsError> {
        let lists = [("filter-types", &self.filter_types), ("filter-deny-types", &self.filter_deny_types)];
        for (setting, types) in lists {
            if let Some(wrong) = types.iter().find(|name| !is_resource_type(name)) {
                let problem = format!("`{wrong}` is no resource type: write names as Patient,Observation");
                return Err(SettingsError::new(setting, problem));
            }
        }
        Ok(Filter {
            types: self.filter_types.clone(),
            deny_types: self.filter_deny_types.clone(),
            labels: self.filter_security_labels.clone(),
            deny_labels: self.filter_deny_security_labels.clone(),
        })
    }
}
