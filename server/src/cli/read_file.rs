//! `read-file`: the process that reads one file, started by `files/reader.rs`. It sets its own limits before any part of the file is read.

use domain::attachment::MAX_FILE_BYTES;
use files::protocol;
use std::io::Read as _;

/// Maximum memory of the process, in bytes: enough for the file and a decoded image of 50 megapixels.
#[cfg(unix)]
const MEMORY: u64 = 400 << 20;
/// Maximum memory for reading any other file, in bytes, in addition to the file itself.
#[cfg(unix)]
const DOCUMENT_MEMORY: u64 = 64 << 20;
/// Maximum processor time of the process, in seconds.
#[cfg(unix)]
const SECONDS: u64 = 20;

/// Reads a file from the standard input and writes the result to the standard output. Without `is_limited`, sets the limits and starts again,
/// so that they apply to the allocator too, which reserves memory before it can be limited.
///
/// # Errors
/// Returns an error if the input can't be read or the output can't be written.
pub fn read_file(is_limited: bool) -> anyhow::Result<()> {
    #[cfg(unix)]
    if !is_limited {
        return Err(start_limited()?);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    #[cfg(unix)]
    if !files::is_image(&bytes) {
        limit_memory(DOCUMENT_MEMORY + bytes.capacity() as u64)?;
    }
    let result = files::read(&bytes);
    drop(bytes);
    protocol::write(result, std::io::stdout().lock())?;
    Ok(())
}

#[cfg(unix)]
fn limit_memory(max: u64) -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Data, Rlimit { current: Some(max), maximum: Some(max) })
}

/// Replaces this process with one that has the limits. Returns only an error.
#[cfg(unix)]
fn start_limited() -> anyhow::Result<anyhow::Error> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::os::unix::process::CommandExt as _;

    let at_most = |max| Rlimit { current: Some(max), maximum: Some(max) };
    limit_memory(MEMORY)?;
    setrlimit(Resource::Cpu, at_most(SECONDS))?;
    setrlimit(Resource::Core, at_most(0))?;
    setrlimit(Resource::Fsize, at_most(0))?;
    // The allocator would reserve more than the limit at once.
    let mut again = std::process::Command::new(std::env::current_exe()?);
    let error = again.args(["read-file", "--limited"]).env("MIMALLOC_ARENA_RESERVE", "0").exec();
    Ok(error.into())
}
