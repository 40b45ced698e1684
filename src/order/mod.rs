//! For one resource the mirror may lag; it may not go back. Deliveries of one resource are forwarded one
//! after the other, and one that is older than what was forwarded is not sent.

pub mod queue;
pub mod record;
pub mod rules;
pub mod store;
mod version;
pub mod walk;
