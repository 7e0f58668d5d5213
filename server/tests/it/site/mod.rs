//! The site: the live demo, themes, the way from a plan to its checkout, the owner's texts, the status page, the terms, and what search engines
//! read.

mod demo;
mod found;
mod home;
mod plan;
mod status;
mod terms;
mod texts;
mod theme;
