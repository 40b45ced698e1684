//! Deliveries in: HTTP, authentication and the senders' shapes become a `Delivery`. Knows axum, not HealthLake.

mod admission;
mod body;
mod bundle;
mod callers;
mod connections;
mod detached;
mod intake;
mod lambda;
mod listen;
mod media;
mod path;
mod router;
mod shape;
mod slow_head;
mod tls;

pub use admission::Admission;
pub(crate) use bundle::Item;
pub use callers::{Caller, Callers, Secrets, SecretsError, Sources};
pub use intake::{Intake, Notification};
pub use lambda::lambda;
pub use listen::{Listening, serve};
pub(crate) use media::Media;
pub use media::media_name;
pub(crate) use path::{Target, target};
pub use router::{App, Limits, router};
pub(crate) use shape::{Content, post, put};
pub use tls::{Files, Tls, TlsError};
