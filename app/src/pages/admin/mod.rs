//! What the owner sees.

pub mod health;
pub mod heaviest;
pub mod person;
