//! Tokens as strangers send them, the vectors of the RFCs, and what each strategy accepts.

mod differential;
mod hostile;
mod strategies;
pub(in crate::auth) mod support;
mod tampered;
mod vectors;
