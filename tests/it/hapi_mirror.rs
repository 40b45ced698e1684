//! hapi_mirror
