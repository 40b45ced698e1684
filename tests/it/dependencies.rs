//! dependencies
