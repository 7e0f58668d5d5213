//! Servers in processes of their own, which tests kill and send signals to.

use crate::app::TestApp;
use crate::settings::UNLIMITED;
use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// A server in a separate process, killed on drop.
pub struct Process {
    child: tokio::process::Child,
    pub url: String,
}

impl Process {
    /// Sends a signal, given as `kill` takes it (`-TERM`).
    pub fn signal(&self, name: &str) {
        let done = std::process::Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Returns the processor time that the process has used, in ticks of the system (mostly 10 ms).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The fields after the command's name, which may contain spaces: proc(5) counts utime as the 14th and stime as the 15th.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Waits up to 120 s for the process to exit. Returns its exit code, or `None` if a signal killed it.
    pub async fn ended(mut self) -> Option<i32> {
        let status = tokio::time::timeout(Duration::from_secs(120), self.child.wait()).await;
        status.expect("the process exits").unwrap().code()
    }

    fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }
}

/// Returns the port on which a process listens; `None` if it doesn't yet.
fn listening_port(id: u32) -> Option<u16> {
    // Each of its sockets is a link to `socket:[INODE]`.
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let inodes: HashSet<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    // proc_pid_net(5): the local address and the state of each socket are hexadecimal, and the state 0A is that of a listening one.
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp")).ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, port) = local.rsplit_once(':')?;
        let listens = *state == "0A" && inodes.contains(*inode);
        u16::from_str_radix(port, 16).ok().filter(|_| listens)
    })
}

impl TestApp {
    /// Starts a server of this deployment as a separate process, with additional settings, and waits until it responds. It listens on a
    /// port that the system chooses, because another test could take one that is chosen here.
    pub async fn process(&self, more: &[(&str, &str)]) -> Process {
        let config = &self.config;
        let key = hex::encode(config.secret_key);
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_quotient"))
            .env_clear()
            .env("DATABASE_URL", &config.database_url)
            .env("REDIS_URL", config.redis_url.as_deref().unwrap())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("SECRET_KEY", key)
            .env("ANTHROPIC_API_KEY", "test-key")
            .env("ANTHROPIC_BASE_URL", self.provider.url())
            .env("OPENAI_API_KEY", "test-key")
            .env("OPENAI_BASE_URL", format!("{}/v1", self.provider.url()))
            .env("RUST_LOG", "off")
            .envs(UNLIMITED)
            .envs(more.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listening = async {
            loop {
                assert_eq!(child.try_wait().unwrap(), None, "the process has exited");
                if let Some(port) = child.id().and_then(listening_port) {
                    break port;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let port = tokio::time::timeout(Duration::from_secs(120), listening).await;
        let url = format!("http://127.0.0.1:{}", port.expect("the process listens within 120 s"));
        // By its first response it also handles signals.
        reqwest::get(format!("{url}/healthz")).await.unwrap();
        Process { child, url }
    }
}
