//! contract_through
