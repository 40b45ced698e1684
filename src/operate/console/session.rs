//! Who is logged in at the console, and that a form was ours.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::COOKIE;
use subtle::ConstantTimeEq;

pub const NAME: &str = "lakehook-console";
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// More logins end the oldest.
const MOST: usize = 32;

#[derive(Clone)]
pub struct Session {
    id: String,
    /// What every form carries: another site can make a browser send a form, but can't know this.
    pub form_token: String,
    ends: Instant,
}

#[derive(Default)]
pub struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    /// A new one; the value of its cookie.
    pub fn start(&self) -> String {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let session =
            Session { id: random() + &random(), form_token: random(), ends: Instant::now() + LIFETIME };
        let id = session.id.clone();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back(session);
        id
    }

    pub fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let given = cookie(headers)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|session| session.ends > now);
        all.iter().find(|session| bool::from(session.id.as_bytes().ct_eq(given.as_bytes()))).cloned()
    }

    pub fn end(&self, headers: &HeaderMap) {
        let Some(given) = cookie(headers) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|session| session.id != given);
    }
}

impl Session {
    pub fn made(&self, form_token: &str) -> bool {
        self.form_token.as_bytes().ct_eq(form_token.as_bytes()).into()
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = cookies.flat_map(|value| value.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, value.parse().unwrap())])
    }

    #[test]
    fn a_session_is_known_by_its_cookie_until_it_ends() {
        let sessions = Sessions::default();
        let id = sessions.start();
        let headers = with(&format!("other=1; {NAME}={id}"));
        let session = sessions.of(&headers).unwrap();
        assert!(session.made(&session.form_token) && !session.made("x") && !session.made(""));
        assert!(sessions.of(&with(&format!("{NAME}=x"))).is_none());
        assert!(sessions.of(&HeaderMap::new()).is_none());
        sessions.end(&headers);
        assert!(sessions.of(&headers).is_none());
    }

    #[test]
    fn many_logins_end_the_oldest() {
        let sessions = Sessions::default();
        let first = sessions.start();
        for _ in 0..MOST {
            sessions.start();
        }
        assert!(sessions.of(&with(&format!("{NAME}={first}"))).is_none());
    }
}
