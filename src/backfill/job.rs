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
/// A look that fails is made again for this long: the job goes on without us.
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

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("StartFHIRImportJob: {0}")]
    Start(String),
    #[error("DescribeFHIRImportJob: {0}; the job goes on without us: the same command looks again")]
    Describe(String),
    #[error("HealthLake's answer makes no sense: {0}")]
    Nonsense(String),
    #[error("the import job {id} ended as {status}{}; the files are in their place: mend what it says, and begin anew with --restart", message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Failed { id: String, status: String, message: Option<String> },
}

pub struct Job {
    client: Client,
    settings: JobSettings,
}

/// What a look at the job found.
#[derive(Clone, Debug)]
pub struct Look {
    pub status: String,
    pub ended: bool,
    /// Lines scanned, taken and refused, where HealthLake tells
    pub scanned: Option<i64>,
    pub imported: Option<i64>,
    pub refused: Option<i64>,
    /// Where it says that the results go
    pub output: Option<String>,
    message: Option<String>,
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
        let output = output.map_err(|error| JobError::Start(error.to_string()))?;
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
        let answer = call.send().await.map_err(|error| JobError::Start(describe(&error)))?;
        Ok(answer.job_id)
    }

    pub async fn look(&self, id: &str) -> Result<Look, JobError> {
        let call =
            self.client.describe_fhir_import_job().datastore_id(&self.settings.datastore_id).job_id(id);
        let answer = call.send().await.map_err(|error| JobError::Describe(describe(&error)))?;
        let job = answer.import_job_properties;
        job.map(Look::of).ok_or_else(|| JobError::Nonsense("no ImportJobProperties".to_owned()))
    }

    /// Until it ends. `told` hears of each look.
    pub async fn watch(&self, id: &str, mut told: impl FnMut(&Look)) -> Result<Look, JobError> {
        let (mut pause, mut missed) = (FIRST_LOOK, 0);
        loop {
            match self.look(id).await {
                Ok(look) => {
                    told(&look);
                    missed = 0;
                    if look.ended {
                        return look.ok(id);
                    }
                }
                Err(error) if missed >= MISSED_LOOKS => return Err(error),
                Err(error) => {
                    missed += 1;
                    tracing::warn!(%error, "the import job is looked at again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Look {
    fn of(job: ImportJobProperties) -> Self {
        use JobStatus::{CancelCompleted, CancelFailed, Completed, CompletedWithErrors, Failed};
        let ended = matches!(
            job.job_status,
            Completed | CompletedWithErrors | Failed | CancelCompleted | CancelFailed
        );
        let progress = job.job_progress_report;
        let of = |get: fn(&aws_sdk_healthlake::types::JobProgressReport) -> Option<i64>| {
            progress.as_ref().and_then(get)
        };
        let output = match job.job_output_data_config {
            Some(OutputDataConfig::S3Configuration(output)) => Some(output.s3_uri),
            _ => None,
        };
        Self {
            ended,
            scanned: of(|report| report.total_number_of_resources_scanned),
            imported: of(|report| report.total_number_of_resources_imported),
            refused: of(|report| report.total_number_of_resources_with_customer_error),
            status: job.job_status.as_str().to_owned(),
            output,
            message: job.message,
        }
    }

    fn ok(self, id: &str) -> Result<Self, JobError> {
        if self.status.starts_with("COMPLETED") {
            return Ok(self);
        }
        Err(JobError::Failed { id: id.to_owned(), status: self.status, message: self.message })
    }
}
