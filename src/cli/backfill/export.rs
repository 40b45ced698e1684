//! For very large data stores: NDJSON, and HealthLake's import of it. What changed while that ran is forwarded
//! afterwards, since AWS does not say which of the two wins.

use std::sync::Arc;
use std::time::Duration;

use super::args::{ExportArgs, To};
use super::direct::{ended, forward, reader, report};
use super::{Ended, Job as Asked};
use crate::backfill::{
    Counts, Cursor, CursorStore, Export, Exported, Feed, Job, JobSettings, JobState, Place, Report, S3,
    Skips, beside, read_results, s3_client,
};
use crate::cli::engine::control_plane;
use crate::cli::say;
use crate::healthlake::{HealthLake, Manager};
use crate::operate::Signals;
use crate::settings::Plan;
use jiff::SignedDuration;

/// Clocks of CDR and this machine may differ.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

pub(super) async fn run(asked: &Asked<'_>, to: &To, args: &ExportArgs) -> Result<Ended, String> {
    let store = asked.cursor_store(true).await?;
    let CursorStore::File(file) = &store else { return Err("--cursor: only a file will do".into()) };
    let staging = beside(file.path(), ".files");
    let (mut cursor, resumed) = asked.cursor(&store, &to.to_string()).await?;
    let mut report = report(asked, &store);
    if !resumed {
        report.clear().map_err(|error| format!("--report: {}: {error}", report.path().display()))?;
        if matches!(to, To::S3(_)) {
            // Of an earlier backfill that was begun anew.
            let _ = std::fs::remove_dir_all(&staging);
        }
    }
    let s3 = match to {
        To::S3(uri) => {
            let resolved = asked.resolve().await?;
            let client = s3_client(resolved.sdk_config(), args.s3_endpoint.as_deref());
            Some(S3 { client, uri: uri.clone() })
        }
        To::Directory(_) => None,
    };
    let mut ended = Ended { refused: cursor.counted.refused, gaps: Vec::new() };
    if !cursor.is_read() || cursor.exported.as_ref().is_none_or(|exported| !exported.complete) {
        let (directory, place) = match (to, &s3) {
            (To::Directory(directory), _) => (directory.clone(), Place::Directory),
            (To::S3(_), Some(s3)) => (staging.clone(), Place::S3(s3.clone())),
            (To::S3(_), None) => return Err("--to: no S3".into()),
        };
        let feed = Feed::open(&directory, place, args.file_size as u64, cursor.exported.as_ref());
        let feed = feed.map_err(|error| error.to_string())?;
        if cursor.exported.is_none() {
            // From here on the files are this backfill's.
            cursor.not_supported = not_taken(asked, &cursor).await;
            cursor.exported = Some(Exported::default());
            store.save(&cursor).await.map_err(|error| format!("--cursor: {error}"))?;
        }
        ended = write(asked, &mut cursor, &store, &mut report, feed).await?;
    }
    if let (true, Some(s3)) = (args.import, &s3) {
        let refused = import(asked, args, &mut cursor, &store, &mut report, s3).await?;
        ended.refused += refused;
        let after = forward_changes(asked, &cursor, &mut report, &store).await?;
        ended.refused += after.refused;
        ended.gaps.extend(after.gaps);
    } else if cursor.is_read() {
        say(&format!(
            "written to {to}; after HealthLake's import of it, forward what changed meanwhile: lakehook backfill --since {}",
            cursor.started - MARGIN
        ));
    }
    let _ = std::fs::remove_dir(&staging);
    store.remove().await.map_err(|error| format!("--cursor: {error}"))?;
    Ok(ended)
}

async fn write(
    asked: &Asked<'_>,
    cursor: &mut Cursor,
    store: &CursorStore,
    report: &mut Report,
    feed: Feed,
) -> Result<Ended, String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    say(&format!("{} resources {}", cursor.total(), cursor.what));
    let skips = Skips::new(cursor.not_supported.iter().cloned());
    let reader = reader(asked, cursor, &skips);
    let export = Export {
        validator: asked.plan.validator.clone(),
        filter: asked.plan.filter.clone(),
        counts: Arc::new(Counts::of(cursor.counted)),
        feed,
    };
    let outcome = export.run(cursor, store, report, reader, &mut signals).await;
    ended(cursor, store, report, outcome).await
}

/// The job, once; its result goes into the report. How many it refused.
async fn import(
    asked: &Asked<'_>,
    args: &ExportArgs,
    cursor: &mut Cursor,
    store: &CursorStore,
    report: &mut Report,
    s3: &S3,
) -> Result<u64, String> {
    let (Some(role_arn), Some(output), Some(kms_key)) =
        (&args.import_role_arn, &args.import_output, &args.import_kms_key)
    else {
        return Err("--import needs --import-role-arn, --import-output and --import-kms-key".into());
    };
    let settings = JobSettings {
        datastore_id: asked
            .plan
            .endpoint
            .datastore_id()
            .ok_or("--healthlake-endpoint: names no data store: …/datastore/ID/r4")?
            .to_owned(),
        role_arn: role_arn.clone(),
        output: output.clone(),
        kms_key: kms_key.clone(),
        validation_level: asked.plan.settings.healthlake.healthlake_validation_level,
    };
    let job = Job::new(&control_plane(&asked.resolve().await?), args.import_endpoint.as_deref(), settings);
    let token = cursor.id.clone();
    let exported = cursor.exported.get_or_insert_default();
    let id = match &exported.job {
        Some(state) => state.id.clone(),
        None => {
            let id = job.start(&s3.uri, &token).await.map_err(|error| error.to_string())?;
            exported.job = Some(JobState { id: id.clone() });
            store.save(cursor).await.map_err(|error| format!("--cursor: {error}"))?;
            id
        }
    };
    say(&format!("import job {id} of {}", s3.uri));
    let mut said = String::new();
    let look = job.watch(&id, |look| {
        let part = |n: Option<i64>| n.map_or("?".to_owned(), |n| n.to_string());
        let text = format!(
            "import job {id}: {}, {} scanned, {} imported, {} refused",
            look.job.status,
            part(look.scanned),
            part(look.imported),
            part(look.refused)
        );
        if text != said {
            tracing::info!(target: "lakehook::backfill", "{text}");
            said = text;
        }
    });
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let look = tokio::select! {
        look = look => look.map_err(|error| error.to_string())?,
        _ = signals.next() => return Err(format!("interrupted: import job {id} goes on by itself; the same command looks at it again")),
    };
    let results = read_results(&s3.at(output.clone()), s3, &id).await.map_err(|error| error.to_string())?;
    for refused in &results.refused {
        report.add(refused).map_err(|error| format!("--report: {}: {error}", report.path().display()))?;
    }
    let counted = results.manifest.and_then(|manifest| manifest.refused);
    let refused = counted.or(look.refused.and_then(|n| u64::try_from(n).ok())).unwrap_or(0);
    let refused = refused.max(results.refused.len() as u64);
    let imported = results.manifest.and_then(|manifest| manifest.imported);
    say(&format!(
        "import job {id}: {}, {} imported, {refused} refused{}",
        look.job.status,
        imported.map_or_else(|| "?".to_owned(), |n| n.to_string()),
        if refused > 0 { format!(", listed in {}", report.path().display()) } else { String::new() },
    ));
    Ok(refused)
}

/// What changed since the files were begun: forwarded after the import, it is what HealthLake has in the end.
async fn forward_changes(
    asked: &Asked<'_>,
    cursor: &Cursor,
    report: &mut Report,
    store: &CursorStore,
) -> Result<Ended, String> {
    let CursorStore::File(file) = store else { return Err("--cursor: only a file will do".into()) };
    let after = beside(file.path(), ".after");
    let after = crate::backfill::CursorFile::open(&after).map(CursorStore::File);
    let after = after.map_err(|error| format!("--cursor: {error}"))?;
    let mut backfill = asked.backfill.clone();
    let since = cursor.started - MARGIN;
    backfill.since = Some(backfill.since.map_or(since, |given| given.max(since)));
    backfill.restart = false;
    let asked = Asked { plan: asked.plan, cdr: asked.cdr.clone(), backfill, mirror: asked.mirror.clone() };
    say("forwarding what changed meanwhile");
    let (mut changes, _) = asked.cursor(&after, asked.plan.endpoint.as_str()).await?;
    forward(&asked, &mut changes, &after, report).await
}

/// Types that HealthLake's CapabilityStatement does not name; none where it can't be asked.
async fn not_taken(asked: &Asked<'_>, cursor: &Cursor) -> Vec<String> {
    match taken(asked).await {
        Ok(taken) if !taken.is_empty() => {
            let names = cursor.types.iter().filter(|state| state.count > 0).map(|state| &state.name);
            names.filter(|name| !taken.contains(name)).cloned().collect()
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            say(&format!(
                "HealthLake can't be asked which types it takes ({error}): all are written, and its import refuses some"
            ));
            Vec::new()
        }
    }
}

async fn taken(asked: &Asked<'_>) -> Result<Vec<String>, String> {
    let resolved = asked.resolve().await?;
    let credentials = Manager::new(resolved.provider.clone(), Plan::clock());
    let options = asked.plan.options(resolved.region.clone());
    let healthlake = HealthLake::new(asked.plan.endpoint.clone(), credentials, Plan::clock(), options)
        .map_err(|error| error.to_string())?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let exchange = healthlake.metadata(deadline).await.map_err(|error| error.to_string())?;
    if exchange.said.status != 200 {
        return Err(format!("it answered {}", exchange.said.status.as_u16()));
    }
    let statement: serde_json::Value = serde_json::from_slice(&exchange.body).unwrap_or_default();
    Ok(crate::cdr::Capabilities::read(&statement).map(|capabilities| capabilities.types).unwrap_or_default())
}
