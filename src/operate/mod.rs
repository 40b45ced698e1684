//! What operators see: health, metrics, logs, and how the process starts and ends.

pub mod admin;
mod canary_metrics;
pub mod console;
pub mod control;
pub mod delivery_log;
mod descriptors;
mod emf;
pub mod health;
mod lifecycle;
mod log_json;
mod log_writer;
mod metrics;
pub mod otlp;
mod recent;
mod reconcile_metrics;
mod series;
mod subscriptions;
pub mod telemetry;
mod watch;

pub use canary_metrics::CanaryMetrics;
pub use control::Control;
pub use descriptors::connections;
pub use emf::{Dimension, Emf};
pub use lifecycle::{Lifecycle, Signal, Signals};
pub use metrics::Metrics;
pub use recent::{Line, Recent};
pub use subscriptions::{Keeper, Subscriptions};
pub use watch::watch_files;
