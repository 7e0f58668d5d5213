//! Settings of development builds and of cargo-leptos.

use super::{Config, Variables};

/// Reads the section's variables. The `QUOTIENT_…` variables exist in development builds only.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    #[cfg(debug_assertions)]
    {
        config.dies_at = vars.text("QUOTIENT_DIES_AT");
        config.clock_offset_s = vars
            .parse("QUOTIENT_CLOCK_OFFSET_S", "a whole number of seconds", |value| value.parse::<i64>().ok())
            .unwrap_or(config.clock_offset_s);
    }
    // cargo-leptos sets both variables when it runs the server.
    if vars.text("LEPTOS_WATCH").is_some() {
        config.live_reload_port = vars.parse("LEPTOS_RELOAD_PORT", "a port number", |value| value.parse::<u16>().ok());
    }
}
