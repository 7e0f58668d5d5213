//! The site: the owner's texts, the status page, the terms, and what search engines read.

mod found;
mod status;
mod terms;
mod texts;
