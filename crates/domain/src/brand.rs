//! What `brand.toml` says, read when the project is built.

include!(concat!(env!("OUT_DIR"), "/brand.rs"));
