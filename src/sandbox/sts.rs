//! STS: `AssumeRole` and `GetCallerIdentity` in AWS's query protocol.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use jiff::Timestamp;
use uuid::Uuid;

use super::answer::{Answer, mismatch};
use super::sigv4::{Key, Refusal, Session, percent_decode};
use super::{Config, lock};

const VERSION: &str = "2011-06-15";
/// How long expired credentials are remembered, so that they are called expired and not unknown.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

struct Issued {
    key: Key,
    expires: Timestamp,
    role_id: String,
    arn: String,
    session_name: String,
    account: String,
}

/// The temporary credentials that were given out.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Issued>>);

impl Sessions {
    pub(super) fn key(&self, key_id: &str) -> Option<Key> {
        lock(&self.0).get(key_id).map(|issued| issued.key.clone())
    }
}

/// An error in STS's words.
struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }

    fn answer(&self, request_id: &str) -> Answer {
        let side = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        let (code, message) = (self.code, escaped(&self.message));
        Answer::xml(
            self.status,
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\"><Error><Type>{side}</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId>\
                 </ErrorResponse>"
            ),
        )
    }
}

pub(super) fn refused(refusal: &Refusal, request_id: &str) -> Answer {
    let forbidden = |code, message: &str| Error::new(StatusCode::FORBIDDEN, code, message);
    let error = match refusal {
        Refusal::Unsigned => {
            forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
        }
        Refusal::Incomplete(message) => Error::new(StatusCode::BAD_REQUEST, "IncompleteSignature", message),
        Refusal::UnknownKey | Refusal::InvalidToken => {
            forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
        }
        Refusal::ExpiredToken => {
            forbidden("ExpiredToken", "The security token included in the request is expired")
        }
        Refusal::Skewed(message) | Refusal::WrongScope(message) => {
            forbidden("SignatureDoesNotMatch", message)
        }
        Refusal::Mismatch(canonical) => forbidden("SignatureDoesNotMatch", &mismatch(canonical)),
    };
    error.answer(request_id)
}

pub(super) fn throttled(request_id: &str) -> Answer {
    Error::new(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded").answer(request_id)
}

/// What a fault answers that names a status and no body.
pub(super) fn failed(request_id: &str) -> Answer {
    let message = "We encountered an internal error. Please try again.";
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message).answer(request_id)
}

/// Answers a call whose signature is right; `key_id` made it.
pub(super) fn call(
    (config, sessions): (&Config, &Sessions),
    key_id: &str,
    (method, body): (&str, &[u8]),
    request_id: &str,
    now: Timestamp,
) -> Answer {
    let parameters = form(body);
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    let result = match (method, parameter("Version"), parameter("Action")) {
        ("POST", Some(VERSION), Some(action @ "AssumeRole")) => {
            assume_role(config, sessions, key_id, &parameters, now).map(|result| (action, result))
        }
        ("POST", Some(VERSION), Some(action @ "GetCallerIdentity")) => {
            Ok((action, caller_identity(config, sessions, key_id)))
        }
        ("POST", version, Some(action)) => Err(Error::new(
            StatusCode::BAD_REQUEST,
            "InvalidAction",
            format!(
                "Could not find operation {action} for version {}",
                version.unwrap_or("NO_VERSION_SPECIFIED")
            ),
        )),
        _ => Err(Error::new(
            StatusCode::BAD_REQUEST,
            "MissingAction",
            "The sandbox's STS takes POST with an Action",
        )),
    };
    match result {
        Ok((action, result)) => Answer::xml(
            StatusCode::OK,
            format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\"><{action}Result>{result}\
                 </{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </{action}Response>"
            ),
        ),
        Err(error) => error.answer(request_id),
    }
}

fn assume_role(
    config: &Config,
    sessions: &Sessions,
    key_id: &str,
    parameters: &HashMap<String, String>,
    now: Timestamp,
) -> Result<String, Error> {
    let required = |name: &str, member: &str| {
        parameters.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::validation(format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
            ))
        })
    };
    let role_arn = required("RoleArn", "roleArn")?;
    let session_name = required("RoleSessionName", "roleSessionName")?;
    let (account, role) =
        role_of(role_arn).ok_or_else(|| Error::validation(format!("{role_arn} is invalid")))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(is_name) {
        return Err(Error::validation(format!(
            "1 validation error detected: Value '{session_name}' at 'roleSessionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        )));
    }
    if config.external_id.is_some() && parameters.get("ExternalId") != config.external_id.as_ref() {
        let caller = escaped_arn(config, sessions, key_id);
        let message =
            format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}");
        return Err(Error::new(StatusCode::FORBIDDEN, "AccessDenied", message));
    }
    let chained = sessions.key(key_id).is_some();
    let lifetime = lifetime(parameters.get("DurationSeconds").map(String::as_str), chained)?;
    let lifetime = config.session_lifetime.unwrap_or(lifetime);

    let issued = Issued {
        key: Key {
            secret: random_text(30),
            session: Some(Session {
                token: format!("IQoJb3JpZ2luX2Vj{}", random_text(192)),
                expires: now + lifetime,
            }),
        },
        expires: now + lifetime,
        role_id: format!("AROA{}", random_id()),
        arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session_name}"),
        session_name: session_name.clone(),
        account: account.to_owned(),
    };
    let key_id = format!("ASIA{}", random_id());
    let token = issued.key.session.as_ref().map_or("", |session| &session.token);
    let result = format!(
        "<AssumedRoleUser><AssumedRoleId>{}:{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>{}</Expiration></Credentials>",
        issued.role_id,
        escaped(session_name),
        escaped(&issued.arn),
        issued.key.secret,
        // In whole seconds, as STS gives it; rounded down, so that nobody trusts them too long.
        issued.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    );
    let mut known = lock(&sessions.0);
    known.retain(|_, old| old.expires + REMEMBERED > now);
    known.insert(key_id, issued);
    Ok(result)
}

fn caller_identity(config: &Config, sessions: &Sessions, key_id: &str) -> String {
    let known = lock(&sessions.0);
    let (user, account) = match known.get(key_id) {
        Some(issued) => (format!("{}:{}", issued.role_id, issued.session_name), issued.account.clone()),
        None => ("AIDASANDBOXSANDBOX00".to_owned(), config.account.clone()),
    };
    drop(known);
    format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{account}</Account>",
        escaped_arn(config, sessions, key_id),
        escaped(&user)
    )
}

fn escaped_arn(config: &Config, sessions: &Sessions, key_id: &str) -> String {
    let known = lock(&sessions.0);
    known.get(key_id).map_or_else(
        || format!("arn:aws:iam::{}:user/sandbox", config.account),
        |issued| escaped(&issued.arn),
    )
}

/// Account and role name of `arn:aws:iam::111122223333:role/path/name`.
fn role_of(arn: &str) -> Option<(&str, &str)> {
    let ["arn", partition, "iam", "", account, resource] = arn.splitn(6, ':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    let fits = partition.starts_with("aws")
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty();
    fits.then_some((account, name))
}

fn lifetime(asked: Option<&str>, chained: bool) -> Result<Duration, Error> {
    let seconds = match asked {
        None => 3600,
        Some(text) => text.parse::<u64>().map_err(|_| {
            Error::new(StatusCode::BAD_REQUEST, "MalformedInput", "DurationSeconds is no number")
        })?,
    };
    let violated = |bound: &str| {
        Err(Error::validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value {bound}"
        )))
    };
    match seconds {
        0..900 => violated("greater than or equal to 900"),
        43201.. => violated("less than or equal to 43200"),
        3601.. if chained => Err(Error::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

fn form(body: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let decoded = |part: &str| String::from_utf8_lossy(&percent_decode(&part.replace('+', " "))).into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend(Uuid::new_v4().into_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn random_text(bytes: usize) -> String {
    BASE64.encode(random_bytes(bytes))
}

/// The 16 characters after the prefix of an AWS id.
fn random_id() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    random_bytes(32)
        .chunks(2)
        .map(|pair| char::from(ALPHABET[usize::from(pair[0] ^ pair[1].rotate_left(3)) % 32]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns_are_read_as_iam_reads_them() {
        assert_eq!(role_of("arn:aws:iam::111122223333:role/writer"), Some(("111122223333", "writer")));
        assert_eq!(
            role_of("arn:aws-us-gov:iam::111122223333:role/a/b/writer"),
            Some(("111122223333", "writer"))
        );
        for bad in [
            "garbage",
            "arn:aws:iam::1:role/x",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::111122223333:role/",
        ] {
            assert_eq!(role_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_keep_within_the_bounds_of_sts() {
        assert_eq!(lifetime(None, false).ok(), Some(Duration::from_secs(3600)));
        assert_eq!(lifetime(Some("900"), false).ok(), Some(Duration::from_secs(900)));
        assert_eq!(lifetime(Some("43200"), false).ok(), Some(Duration::from_secs(43200)));
        assert!(lifetime(Some("899"), false).is_err());
        assert!(lifetime(Some("43201"), false).is_err());
        assert!(lifetime(Some("7200"), true).is_err());
        assert!(lifetime(Some("an hour"), false).is_err());
    }

    #[test]
    fn ids_look_like_aws() {
        let id = random_id();
        assert_eq!(id.len(), 16);
        assert!(id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    }
}
