//! The client against a small server that says what a test wants, and keeps what it was asked.

#![allow(clippy::unwrap_used)]

mod keys;
mod oauth;
mod pages;
mod reads;
pub(super) mod server;
mod writes;

use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use self::server::Stand;
use super::{Authorization, Cdr};
use crate::delivery::Key;
use crate::healthlake::Trust;

const LIMIT: usize = 1000;

pub(super) fn cdr(stand: &Stand, authorization: Authorization) -> Cdr {
    let base = Url::parse(&stand.base()).unwrap();
    Cdr::new(&base, authorization, LIMIT, &Trust::default()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn patient(id: &str) -> Key {
    Key::new("Patient", id).unwrap()
}
