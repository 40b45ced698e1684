//! HealthLake as a client sees it: where it is, who we are to it, and what its answers mean. The only room
//! that knows SigV4 and reqwest.

mod client;
mod credentials;
mod endpoint;
mod meaning;
mod outage;
mod sign;
mod signer;
mod sts;
mod trust;
mod wire;

pub use client::{Attempted, HealthLake, LastAnswer, Options, ValidationLevel};
pub use credentials::{Clock, Credentials, CredentialsError, Manager};
pub use endpoint::{Endpoint, EndpointError, is_loopback};
pub use meaning::{CouldNot, Meaning, Said};
pub(crate) use sts::describe;
pub use sts::{Identity, Resolved, Role, Source, SourceError};
pub use trust::{Trust, TrustError};
pub use wire::Exchange;
#[cfg(test)]
pub(crate) use wire::Simulated;
