//! Reads a file in a separate process, which has limits on memory and time, and neither this server's environment nor its connections. A
//! file that makes it fail affects nothing else. The process runs `cli/read_file.rs`.

use anyhow::Context as _;
use files::{Reading, Refused, protocol};
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Maximum time to read a file. The process's limit of processor time is lower.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of what the process writes: the text of a file as JSON, or an encoded image.
const MAX_OUTPUT: u64 = 16 << 20;

/// Starts the processes.
pub(super) struct Reader {
    program: PathBuf,
}

impl Reader {
    /// Uses this program, unless another one is given.
    pub(super) fn new(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let this = || std::env::current_exe().context("the path of this program");
        Ok(Self { program: program.map_or_else(this, Ok)? })
    }

    /// Reads a file from its current position.
    ///
    /// # Errors
    /// Returns an error if the process can't be started.
    pub(super) async fn read(&self, file: File) -> anyhow::Result<Result<Reading, Refused>> {
        let mut child = Command::new(&self.program)
            .arg("read-file")
            .env_clear()
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting the process that reads files")?;
        let mut output = Vec::new();
        let reading = async {
            if let Some(stdout) = child.stdout.take() {
                stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
            }
            child.wait().await
        };
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(Ok(status)) if status.success() => {
                protocol::parse(&output).context("the process that reads files wrote nothing")
            }
            // It exceeded a limit or crashed.
            Ok(Ok(_)) | Err(_) => Ok(Err(Refused::TooComplex)),
            Ok(Err(error)) => Err(error).context("reading a file"),
        }
    }
}
