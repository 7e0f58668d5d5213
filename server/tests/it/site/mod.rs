//! The site for visitors: the live demo, themes, and the way from a plan to its checkout.

mod demo;
mod plan;
mod theme;
