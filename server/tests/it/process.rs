//! Servers in processes of their own, which tests kill and send signals to.

use crate::app::TestApp;
use crate::settings::UNLIMITED;
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
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
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

impl TestApp {
    /// Starts a server of this deployment as a separate process, with additional settings, and waits until it listens.
    pub async fn process(&self, more: &[(&str, &str)]) -> Process {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (addr, config) = (format!("127.0.0.1:{port}"), &self.config);
        let key = hex::encode(config.secret_key);
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_quotient"))
            .env_clear()
            .env("DATABASE_URL", &config.database_url)
            .env("REDIS_URL", config.redis_url.as_deref().unwrap())
            .env("LISTEN_ADDR", &addr)
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
        let process = Process { child, url: format!("http://{addr}") };
        let began = std::time::Instant::now();
        while reqwest::get(format!("{}/healthz", process.url)).await.is_err() {
            assert!(began.elapsed().as_secs() < 120, "the process doesn't listen after 120 s");
            tokio::task::yield_now().await;
        }
        process
    }
}
