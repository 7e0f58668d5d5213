//! Determines how many connections the process accepts.

/// Descriptors that are kept for databases, providers, files and logs.
const RESERVED: usize = 100;
/// The most, whatever the system allows: each open connection costs some 20 KiB.
const MOST: usize = 20_000;
/// The system's usual limit, where it can't be read.
const USUAL_DESCRIPTORS: usize = 1_024;

/// The default cap: three quarters of the descriptors that this process may open, less those that the server itself needs, because an
/// answer also has a connection to its provider.
pub(super) fn default_connection_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limit_for(open_files(&limits).unwrap_or(USUAL_DESCRIPTORS))
}

fn limit_for(descriptors: usize) -> usize {
    (descriptors.saturating_sub(RESERVED) / 4 * 3).clamp(16, MOST)
}

/// The soft limit on open files; see proc_pid_limits(5).
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_follows_the_descriptors() {
        let proc = "Limit   Soft Limit  Hard Limit  Units\nMax open files            300                  524288               files \n";
        assert_eq!(open_files(proc).map(limit_for), Some(150));
        assert_eq!((limit_for(0), limit_for(1_024), limit_for(1 << 20)), (16, 693, MOST));
        assert_eq!(open_files("Max open files            unlimited            unlimited            files"), None);
    }
}
