//! Bulk exports instead of searches: where they are, and having them made.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use reqwest::Url;

use super::engine::control_plane;
use super::say;
use crate::backfill::{S3, S3Uri, s3_client};
use crate::cdr::Cdr;
use crate::healthlake::Resolved;
use crate::reconcile::{Export, ExportJob, ExportSettings};
use crate::settings::{Plan, SettingsError};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Bulk exports")]
pub(super) struct ExportArgs {
    /// The CDR's bulk export as NDJSON, read instead of searching it: a folder, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "PLACE", value_parser = Place::parse, conflicts_with_all = ["since", "id"])]
    pub cdr_export: Option<Place>,
    /// Have the CDR make its bulk export ($export), and read that
    #[arg(long, conflicts_with_all = ["since", "id", "cdr_export"])]
    pub cdr_bulk_export: bool,
    /// HealthLake's
    #[arg(long, value_name = "PLACE", value_parser = Place::parse, conflicts_with_all = ["since", "id"])]
    pub healthlake_export: Option<Place>,
    /// Have HealthLake export everything to --healthlake-export s3://BUCKET/PREFIX first, and read that
    #[arg(long, conflicts_with_all = ["since", "id"])]
    pub healthlake_bulk_export: bool,
    /// Role with which HealthLake writes its export
    #[arg(long, env = "LAKEHOOK_EXPORT_ROLE_ARN", value_name = "ARN")]
    pub export_role_arn: Option<String>,
    /// KMS key that HealthLake encrypts its export with
    #[arg(long, env = "LAKEHOOK_EXPORT_KMS_KEY", value_name = "KEY")]
    pub export_kms_key: Option<String>,
    /// HealthLake's control plane elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_EXPORT_ENDPOINT", value_name = "URL")]
    pub export_endpoint: Option<String>,
    /// S3 elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    S3(S3Uri),
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("s3:") {
            return Ok(Self::Folder(text.into()));
        }
        S3Uri::parse(text).map(Self::S3).ok_or_else(|| {
            "write a folder, or s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits, - . _ and /".to_owned()
        })
    }
}

/// What is read instead of each side's lists, and the CDR's job where it made one.
#[derive(Default)]
pub(super) struct Exports {
    pub of: [Option<Export>; 2],
    job: Option<(Arc<Cdr>, Url)>,
}

impl Exports {
    /// The CDR need not keep what it wrote.
    pub(super) async fn end(self) {
        if let Some((cdr, job)) = self.job {
            cdr.end_bulk(&job).await;
        }
    }
}

impl ExportArgs {
    pub(super) fn any(&self) -> bool {
        self.cdr_export.is_some() || self.cdr_bulk_export || self.healthlake_export.is_some()
    }

    /// What goes together.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !self.healthlake_bulk_export {
            return Ok(());
        }
        if !matches!(self.healthlake_export, Some(Place::S3(_))) {
            let problem = "needs --healthlake-export s3://BUCKET/PREFIX: HealthLake writes to S3";
            return Err(SettingsError::new("healthlake-bulk-export", problem));
        }
        let needed = [
            ("export-role-arn", self.export_role_arn.is_none()),
            ("export-kms-key", self.export_kms_key.is_none()),
        ];
        match needed.into_iter().find(|(_, missing)| *missing) {
            None => Ok(()),
            Some((setting, _)) => {
                let problem = "is missing: --healthlake-bulk-export needs it, as StartFHIRExportJob does";
                Err(SettingsError::new(setting, problem))
            }
        }
    }

    /// Both jobs run at the same time.
    pub(super) async fn exports(
        &self,
        plan: &Plan,
        cdr: &Arc<Cdr>,
        resolved: &Resolved,
        types: &[String],
    ) -> Result<Exports, String> {
        let (of_cdr, of_healthlake) =
            tokio::try_join!(self.of_cdr(cdr, resolved, types), self.of_healthlake(plan, resolved))?;
        let (of_cdr, job) = of_cdr;
        Ok(Exports { of: [of_cdr, of_healthlake], job: job.map(|job| (cdr.clone(), job)) })
    }

    async fn of_cdr(
        &self,
        cdr: &Arc<Cdr>,
        resolved: &Resolved,
        types: &[String],
    ) -> Result<(Option<Export>, Option<Url>), String> {
        if !self.cdr_bulk_export {
            return Ok((self.at(self.cdr_export.as_ref(), resolved, None), None));
        }
        let failed = |error: crate::cdr::CdrError| {
            format!("--cdr-bulk-export: {error}; running it again is safe, and makes the CDR export anew")
        };
        let job = cdr.start_bulk(types).await.map_err(failed)?;
        say("the CDR exports");
        let mut said = String::new();
        let made = cdr.watch_bulk(&job, |progress| {
            if progress != said && !progress.is_empty() {
                say(&format!("the CDR exports: {progress}"));
                progress.clone_into(&mut said);
            }
        });
        let made = made.await.map_err(failed)?;
        say(&format!("the CDR's export has {} files", made.files.len()));
        if made.errors > 0 {
            say(&format!(
                "the CDR tells of errors in {} more: not everything is in its export; what HealthLake has more than it is read by id",
                made.errors
            ));
        }
        Ok((Some(Export::OfCdr { cdr: cdr.clone(), files: made.files }), Some(job)))
    }

    async fn of_healthlake(&self, plan: &Plan, resolved: &Resolved) -> Result<Option<Export>, String> {
        let (true, Some(Place::S3(output)), Some(role_arn), Some(kms_key)) = (
            self.healthlake_bulk_export,
            &self.healthlake_export,
            &self.export_role_arn,
            &self.export_kms_key,
        ) else {
            return Ok(self.at(self.healthlake_export.as_ref(), resolved, None));
        };
        let datastore_id = plan.endpoint.datastore_id();
        let settings = ExportSettings {
            datastore_id: datastore_id
                .ok_or("--healthlake-endpoint: names no data store: …/datastore/ID/r4")?
                .to_owned(),
            role_arn: role_arn.clone(),
            output: output.clone(),
            kms_key: kms_key.clone(),
        };
        let job = ExportJob::new(&control_plane(resolved), self.export_endpoint.as_deref(), settings);
        let token = uuid::Uuid::new_v4().to_string();
        let id = job.start(&token).await.map_err(|error| error.to_string())?;
        say(&format!(
            "export job {id}, which goes on by itself if this command is stopped; what it wrote can be read with --healthlake-export {}",
            job.folder(&id)
        ));
        let mut said = String::new();
        let watched = job.watch(&id, |status| {
            if status != said {
                say(&format!("export job {id}: {status}"));
                status.clone_into(&mut said);
            }
        });
        watched.await.map_err(|error| error.to_string())?;
        Ok(self.at(self.healthlake_export.as_ref(), resolved, Some(id)))
    }

    fn at(&self, place: Option<&Place>, resolved: &Resolved, of_job: Option<String>) -> Option<Export> {
        Some(match place? {
            Place::Folder(path) => Export::Folder(path.clone()),
            Place::S3(uri) => {
                let client = s3_client(resolved.sdk_config(), self.s3_endpoint.as_deref());
                Export::S3 { s3: S3 { client, uri: uri.clone() }, of_job }
            }
        })
    }
}
