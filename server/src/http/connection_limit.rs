//! Determines how many connections the server accepts.

/// File descriptors reserved for databases, providers, files and logs.
const RESERVED: usize = 100;
/// Maximum of the default limit. Each open connection costs about 20 KiB.
const MAX_CONNECTIONS: usize = 20_000;
/// Assumed file descriptor limit if it can't be read.
const USUAL_DESCRIPTORS: usize = 1_024;

/// Returns the default connection limit: three quarters of the file descriptors that the process may open, less the reserved ones, because
/// a response also needs a connection to its provider.
pub(super) fn default_connection_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limit_for(open_files(&limits).unwrap_or(USUAL_DESCRIPTORS))
}

fn limit_for(descriptors: usize) -> usize {
    (descriptors.saturating_sub(RESERVED) / 4 * 3).clamp(16, MAX_CONNECTIONS)
}

/// Parses the soft limit on open files; see proc_pid_limits(5).
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_depends_on_file_descriptors() {
        let proc = "Limit   Soft Limit  Hard Limit  Units\nMax open files            300                  524288               files \n";
        assert_eq!(open_files(proc).map(limit_for), Some(150));
        assert_eq!((limit_for(0), limit_for(1_024), limit_for(1 << 20)), (16, 693, MAX_CONNECTIONS));
        assert_eq!(open_files("Max open files            unlimited            unlimited            files"), None);
    }
}
