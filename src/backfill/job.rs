//! HealthLake's import job: started once however often the command is, watched until it ends.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_healthlake::Client;
use aws_sdk_healthlake::types::{
    ImportJobProperties, InputDataConfig, JobStatus, OutputDataConfig, S3Configuration, ValidationLevel,
};
use tokio::time::sleep;

use super::places::S3Uri;
use crate::healthlake::{ValidationLevel as Level, describe};

const FIRST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many looks in a row may fail.
const MISSED_LOOKS: u32 = 20;

#[derive(Clone, Debug)]
pub struct JobSettings {
    pub datastore_id: String,
    /// Role that trusts healthlake.amazonaws.com and may read the files and write the results
    pub role_arn: String,
    /// Where the results go
    pub output: S3Uri,
    pub kms_key: String,
    pub validation_level: Option<Level>,
}

/// Which of HealthLake's jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOf {
    Import,
    Export,
}

impl JobOf {
    fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Import => "FHIRImportJob",
            Self::Export => "FHIRExportJob",
        }
    }

    fn looks_again(self) -> &'static str {
        match self {
            Self::Import => "the same command looks again",
            Self::Export => "what it wrote in the end can be read with --healthlake-export",
        }
    }

    /// What can be done where HealthLake gave up.
    fn advice(self) -> &'static str {
        match self {
            Self::Import => "the files are in their place: mend what it says, and begin anew with --restart",
            Self::Export => "mend what it says; running it again is safe, and starts another job",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("Start{}: {_1}", _0.action())]
    Start(JobOf, String),
    #[error("Describe{}: {_1}; the job goes on without us: {}", _0.action(), _0.looks_again())]
    Describe(JobOf, String),
    #[error("HealthLake's answer makes no sense: {0}")]
    Nonsense(String),
    #[error("the {} job {id} ended as {status}{}; {}", of.name(), message.as_deref().map(|text| format!(": {text}")).unwrap_or_default(), of.advice())]
    Failed { of: JobOf, id: String, status: String, message: Option<String> },
}

/// What a look at a job found, of any kind.
#[derive(Clone, Debug)]
pub struct Looked {
    pub status: String,
    pub ended: bool,
    /// Why it failed
    pub message: Option<String>,
}

pub fn has_ended(status: &JobStatus) -> bool {
    use JobStatus::{CancelCompleted, CancelFailed, Completed, CompletedWithErrors, Failed};
    matches!(status, Completed | CompletedWithErrors | Failed | CancelCompleted | CancelFailed)
}

/// Looks at a job until it ends; an error where it did not complete. A look that fails is made again: the job goes on
/// without us.
pub async fn watch(
    of: JobOf,
    id: &str,
    mut look: impl AsyncFnMut() -> Result<Looked, JobError>,
) -> Result<(), JobError> {
    let (mut pause, mut missed) = (FIRST_LOOK, 0);
    loop {
        match look().await {
            Ok(Looked { ended: true, status, .. }) if status.starts_with("COMPLETED") => return Ok(()),
            Ok(Looked { ended: true, status, message }) => {
                return Err(JobError::Failed { of, id: id.to_owned(), status, message });
            }
            Ok(_) => missed = 0,
            Err(error) if missed >= MISSED_LOOKS => return Err(error),
            Err(error) => {
                missed += 1;
                tracing::warn!(%error, "the {} job is looked at again", of.name());
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

pub struct Job {
    client: Client,
    settings: JobSettings,
}

/// What a look at the job found.
#[derive(Clone, Debug)]
pub struct Look {
    pub job: Looked,
    /// Lines scanned, taken and refused, where HealthLake tells
    pub scanned: Option<i64>,
    pub imported: Option<i64>,
    pub refused: Option<i64>,
    /// Where it says that the results go
    pub output: Option<String>,
}

impl Job {
    /// `endpoint`: the control plane elsewhere than at the region's usual host.
    pub fn new(config: &SdkConfig, endpoint: Option<&str>, settings: JobSettings) -> Self {
        let mut builder = aws_sdk_healthlake::config::Builder::from(config);
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), settings }
    }

    pub fn output(&self) -> &S3Uri {
        &self.settings.output
    }

    /// The job's id. The same token starts no second job.
    pub async fn start(&self, input: &S3Uri, token: &str) -> Result<String, JobError> {
        let JobSettings { datastore_id, role_arn, output, kms_key, validation_level } = &self.settings;
        let output = S3Configuration::builder().s3_uri(output.to_string()).kms_key_id(kms_key).build();
        let start = |text: String| JobError::Start(JobOf::Import, text);
        let output = output.map_err(|error| start(error.to_string()))?;
        let mut call = self
            .client
            .start_fhir_import_job()
            .job_name(format!("lakehook-{token}").chars().take(64).collect::<String>())
            .input_data_config(InputDataConfig::S3Uri(input.to_string()))
            .job_output_data_config(OutputDataConfig::S3Configuration(output))
            .datastore_id(datastore_id)
            .data_access_role_arn(role_arn)
            .client_token(token);
        if let Some(level) = validation_level {
            call = call.validation_level(match level {
                Level::Strict => ValidationLevel::Strict,
                Level::StructureOnly => ValidationLevel::StructureOnly,
                Level::Minimal => ValidationLevel::Minimal,
            });
        }
        let answer = call.send().await.map_err(|error| start(describe(&error)))?;
        Ok(answer.job_id)
    }

    pub async fn look(&self, id: &str) -> Result<Look, JobError> {
        let call =
            self.client.describe_fhir_import_job().datastore_id(&self.settings.datastore_id).job_id(id);
        let answer = call.send().await;
        let answer = answer.map_err(|error| JobError::Describe(JobOf::Import, describe(&error)))?;
        let job = answer.import_job_properties;
        job.map(Look::of).ok_or_else(|| JobError::Nonsense("no ImportJobProperties".to_owned()))
    }

    /// Until it ends. `told` hears of each look.
    pub async fn watch(&self, id: &str, mut told: impl FnMut(&Look)) -> Result<Look, JobError> {
        let mut last = None;
        watch(JobOf::Import, id, async || {
            let look = self.look(id).await?;
            told(&look);
            Ok(last.insert(look).job.clone())
        })
        .await?;
        last.ok_or_else(|| JobError::Nonsense("no ImportJobProperties".to_owned()))
    }
}

impl Look {
    fn of(job: ImportJobProperties) -> Self {
        let progress = job.job_progress_report;
        let of = |get: fn(&aws_sdk_healthlake::types::JobProgressReport) -> Option<i64>| {
            progress.as_ref().and_then(get)
        };
        let output = match job.job_output_data_config {
            Some(OutputDataConfig::S3Configuration(output)) => Some(output.s3_uri),
            _ => None,
        };
        Self {
            job: Looked {
                ended: has_ended(&job.job_status),
                status: job.job_status.as_str().to_owned(),
                message: job.message,
            },
            scanned: of(|report| report.total_number_of_resources_scanned),
            imported: of(|report| report.total_number_of_resources_imported),
            refused: of(|report| report.total_number_of_resources_with_customer_error),
            output,
        }
    }
}
