//! Where deliveries that are refused for good are kept.

use super::table::{Row, Table};
use crate::cli::deadletters::store;
use crate::healthlake::Resolved;
use crate::settings::{DeadLetterStore, Plan};

const WHAT: &str = "--dead-letters";

pub(super) async fn check(table: &mut Table, plan: &Plan, resolved: Option<&Resolved>) {
    let keys = plan.dead_letter_keys.clone();
    let Some(store) = store(&plan.settings, &plan.dead_letters, keys, resolved) else {
        table.add(match plan.dead_letters {
            DeadLetterStore::Off => Row::ok(WHAT, "off: the CDR gets the true status of a refusal"),
            _ => Row::skipped(WHAT, "no credentials to ask with"),
        });
        return;
    };
    table.add(match store.check().await {
        Ok(checked) => match checked.advice {
            None => Row::ok(WHAT, checked.found),
            Some(advice) => Row::warning(WHAT, checked.found).advise(advice),
        },
        Err(error) => Row::failed(WHAT, format!("{}: {error}", store.place())).advise(match plan.dead_letters {
            DeadLetterStore::Dir => "the directory must be there, or be makeable, for lakehook's user: until then the CDR gets each refusal itself",
            _ => "until it can be used the CDR gets each refusal itself; docs/iam.md has the permissions, --dead-letters-endpoint is for PrivateLink",
        }),
    });
}
