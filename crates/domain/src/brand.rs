//! The contents of `brand.toml`, read at build time.

include!(concat!(env!("OUT_DIR"), "/brand.rs"));
