//! HealthLake's export job: started, and watched until it ends.

use aws_config::SdkConfig;
use aws_sdk_healthlake::Client;
use aws_sdk_healthlake::types::{OutputDataConfig, S3Configuration};

use crate::backfill::{JobError, JobOf, Looked, S3Uri, has_ended, watch};
use crate::healthlake::describe;

#[derive(Clone, Debug)]
pub struct ExportSettings {
    pub datastore_id: String,
    /// Role that trusts healthlake.amazonaws.com and may write the files
    pub role_arn: String,
    /// HealthLake makes a folder of its own below it.
    pub output: S3Uri,
    pub kms_key: String,
}

pub struct ExportJob {
    client: Client,
    settings: ExportSettings,
}

impl ExportJob {
    /// `endpoint`: the control plane elsewhere than at the region's usual host.
    pub fn new(config: &SdkConfig, endpoint: Option<&str>, settings: ExportSettings) -> Self {
        let mut builder = aws_sdk_healthlake::config::Builder::from(config);
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), settings }
    }

    /// The job's id. Of everything: HealthLake's job knows no filter. The same token starts no second job.
    pub async fn start(&self, token: &str) -> Result<String, JobError> {
        let ExportSettings { datastore_id, role_arn, output, kms_key } = &self.settings;
        let output = S3Configuration::builder().s3_uri(output.to_string()).kms_key_id(kms_key).build();
        let start = |text: String| JobError::Start(JobOf::Export, text);
        let output = output.map_err(|error| start(error.to_string()))?;
        let call = self
            .client
            .start_fhir_export_job()
            .job_name(format!("lakehook-{token}").chars().take(64).collect::<String>())
            .output_data_config(OutputDataConfig::S3Configuration(output))
            .datastore_id(datastore_id)
            .data_access_role_arn(role_arn)
            .client_token(token);
        let answer = call.send().await.map_err(|error| start(describe(&error)))?;
        Ok(answer.job_id)
    }

    /// Until it ends. `told` hears of each status.
    pub async fn watch(&self, id: &str, mut told: impl FnMut(&str)) -> Result<(), JobError> {
        watch(JobOf::Export, id, async || {
            let looked = self.look(id).await?;
            told(&looked.status);
            Ok(looked)
        })
        .await
        .map(drop)
    }

    /// Where the job `id` writes.
    pub fn folder(&self, id: &str) -> S3Uri {
        let ExportSettings { datastore_id, output, .. } = &self.settings;
        let prefix = format!("{}{datastore_id}-FHIR_EXPORT-{id}/", output.prefix);
        S3Uri { bucket: output.bucket.clone(), prefix }
    }

    async fn look(&self, id: &str) -> Result<Looked, JobError> {
        let call =
            self.client.describe_fhir_export_job().datastore_id(&self.settings.datastore_id).job_id(id);
        let answer = call.send().await;
        let answer = answer.map_err(|error| JobError::Describe(JobOf::Export, describe(&error)))?;
        let job = answer.export_job_properties;
        let job = job.ok_or_else(|| JobError::Nonsense("no ExportJobProperties".to_owned()))?;
        Ok(Looked {
            ended: has_ended(&job.job_status),
            status: job.job_status.as_str().to_owned(),
            message: job.message,
        })
    }
}
