//! Keeps an AWS HealthLake data store an exact, near-real-time mirror of a FHIR R4 server.

pub mod validate;
