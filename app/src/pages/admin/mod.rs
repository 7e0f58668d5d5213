//! What the owner sees.

pub mod heaviest;
pub mod person;
