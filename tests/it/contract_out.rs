//! contract_out
