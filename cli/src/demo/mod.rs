//! What only the demo and tests need.

pub(crate) mod damage;
