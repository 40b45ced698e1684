//! Dead letters sent again from their page: by the code of the command, bounded in number and time, for one at a time.

use std::sync::Mutex;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{LETTERS, Posted, Session, forged, letters_page, page};
use crate::deadletter::{DeadLetters, LetterId, StoreError};
use crate::delivery::{Delivery, Key};
use crate::mirror::{Mirror, Source, Telling, Told};
use crate::operate::admin::Admin;
use crate::operate::control::send;
use crate::redrive::{Redrive, Selected, Summary, by_resource};

/// Resources of one form
pub(super) const MOST: usize = 50;
/// Between two of them, as the command has it
const APART: Duration = Duration::from_millis(100);
/// Somebody waits for the page: what was not begun by then is left as it is.
const AT_MOST: Duration = Duration::from_secs(30);

pub(super) async fn redrive(
    State(admin): State<Admin>,
    Extension(session): Extension<Session>,
    Form(posted): Form<Posted>,
) -> Response {
    if !session.made(&posted.form_token) {
        return forged();
    }
    let token = session.form_token;
    let problem =
        |status, text: &str| (status, page::message("Dead letters", text, Some(&token))).into_response();
    let letter = match posted.letter.as_str() {
        "" => None,
        text => match LetterId::parse(text) {
            Some(id) => Some(id),
            None => return problem(StatusCode::BAD_REQUEST, "That is no letter: 16 hex digits name one."),
        },
    };
    let (Some(control), Some(keeper)) = (&admin.control, &admin.app.forward.dead_letters) else {
        return problem(StatusCode::NOT_FOUND, "None are kept here.");
    };
    if !keeper.store().replaces() {
        // A queue: looking hides them from others.
        return problem(StatusCode::CONFLICT, "They are in a queue: lakehook dead-letters redrive does it.");
    }
    let Ok(alone) = control.redriving.clone().try_acquire_owned() else {
        let text = "Dead letters are being sent again at this moment, for somebody else. Look again when that is over.";
        return problem(StatusCode::CONFLICT, text);
    };
    let (store, here) = (keeper.store().clone(), admin.clone());
    // To its end, though the browser may be gone.
    let ended = tokio::spawn(async move {
        let redriven = run(&here, &*store, letter).await;
        drop(alone);
        redriven
    });
    match ended.await {
        Ok(Ok(redriven)) => letters_page(&admin, &token, Some(&redriven)).await,
        Ok(Err(error)) => problem(StatusCode::BAD_GATEWAY, &error.to_string()),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn run(
    admin: &Admin,
    store: &dyn DeadLetters,
    letter: Option<LetterId>,
) -> Result<page::Redriven, StoreError> {
    let selected = select(store, letter).await?;
    let forward = &admin.app.forward;
    let redrive = Redrive {
        store,
        mirror: &Here(admin.clone()),
        validator: &forward.validator,
        ask_cdr: forward.cdr.is_some(),
        patience: Duration::ZERO,
    };
    let told = Mutex::new(Vec::new());
    let tell = |key: &Key, text: &str| {
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.push((key.to_string(), text.to_owned()));
    };
    let (mut summary, mut pace) = (Summary::default(), interval(APART));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + AT_MOST;
    for (n, resource) in by_resource(&selected).iter().enumerate() {
        pace.tick().await;
        if n >= MOST || Instant::now() >= until || admin.app.lifecycle.is_stopping() {
            summary.untried += resource.letters.len();
            continue;
        }
        redrive.one(resource, &mut summary, &tell).await;
    }
    let told = told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(page::Redriven { summary: summary.text(), told })
}

/// The one, or those that the page shows; refused first at the top.
async fn select(store: &dyn DeadLetters, letter: Option<LetterId>) -> Result<Vec<Selected>, StoreError> {
    let mut names = store.names().await?;
    names.sort_by_key(|name| std::cmp::Reverse(name.at));
    match letter {
        Some(id) => names.retain(|name| name.id == id),
        None => names.truncate(LETTERS),
    }
    let mut selected = Vec::with_capacity(names.len());
    for name in names {
        // One that can't be read, or is gone meanwhile, is left as it is.
        if let Ok(Some(letter)) = store.letter(&name).await {
            selected.push(Selected { name, letter });
        }
    }
    selected.sort_by(|a, b| (a.letter.first, &a.name.id).cmp(&(b.letter.first, &b.name.id)));
    Ok(selected)
}

/// This instance, with a place among its deliveries for each.
struct Here(Admin);

impl Mirror for Here {
    fn forward(&self, delivery: Delivery) -> Telling<'_> {
        Box::pin(async move {
            let sent = send(&self.0, delivery, Source::Redrive).await;
            Ok(sent.unwrap_or_else(|verdict| Told::not_begun(&verdict)))
        })
    }

    fn way(&self) -> String {
        "this process".to_owned()
    }
}
