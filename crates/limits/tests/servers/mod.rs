//! Redis servers for tests, a cluster of three, and a TCP proxy that can fail.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a failed unwrap fails the test; each test binary uses a part of this module"
)]

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The unit of [`scheduled`].
const TICK: Duration = Duration::from_millis(10);

/// Returns for how long this machine has run since the first call, counted by a thread. A pause of the machine counts as one tick, so that it
/// isn't taken for a slow decision.
pub fn scheduled() -> Duration {
    static TICKS: AtomicU32 = AtomicU32::new(0);
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        std::thread::spawn(|| {
            while TICKS.fetch_add(1, Ordering::Relaxed) < u32::MAX {
                std::thread::park_timeout(TICK);
            }
        });
    });
    TICK * TICKS.load(Ordering::Relaxed)
}

/// Returns a free port that is never the source of an outgoing connection: a client that connects to such a port before its server
/// listens may connect to itself. The nodes of a cluster also use the port 10,000 higher.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// A Redis server for one test. It ends with the test, however that ends, because its shell kills it once the shell's input is closed.
pub struct Server {
    shell: Child,
    pid: u32,
    pub port: u16,
}

impl Server {
    pub fn start_fresh() -> Self {
        Self::start(free_port(), &[])
    }

    /// Starts a server that keeps its snapshots in `dir`.
    pub fn start_in(dir: &str) -> Self {
        Self::start(free_port(), &["--dir", dir])
    }

    pub fn start(port: u16, more: &[&str]) -> Self {
        let mut shell = Command::new("sh")
            // In a temporary directory, which is deleted with it.
            .args([
                "-c",
                r#"cd "$(mktemp -d)"; redis-server "$@" >/dev/null & echo $!; cat; kill -9 $!; rm -rf "$PWD""#,
            ])
            .arg("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut pid).unwrap();
        let server = Self { shell, pid: pid.trim().parse().unwrap(), port };
        server.wait_for(&["PING"], |reply| reply.is_ok());
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid.to_string()]).status().unwrap().success());
    }

    pub fn query(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut connection)
    }

    /// Repeats a command until its reply is as wanted, for at most two minutes.
    pub fn wait_for(&self, words: &[&str], wanted: impl Fn(redis::RedisResult<redis::Value>) -> bool) {
        let began = Instant::now();
        while !wanted(self.query(words)) {
            assert!(began.elapsed() < Duration::from_secs(120), "{words:?} didn't return the expected reply in time");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Returns the addresses of a cluster of three nodes, which is started once for all tests of this process.
pub fn cluster() -> &'static str {
    static CLUSTER: OnceLock<(Vec<Server>, String)> = OnceLock::new();
    let (_, url) = CLUSTER.get_or_init(|| {
        let nodes: Vec<Server> = (0..3)
            .map(|_| {
                let port = free_port();
                // A node that was paused for longer takes the others for failed, and refuses commands.
                Server::start(port, &["--cluster-enabled", "yes", "--cluster-node-timeout", "300000"])
            })
            .collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let output =
            Command::new("redis-cli").args(["--cluster", "create"]).args(addresses).arg("--cluster-yes").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        for node in &nodes {
            let is_ok = |reply: redis::RedisResult<redis::Value>| {
                reply
                    .ok()
                    .and_then(|info| redis::from_redis_value::<String>(info).ok())
                    .is_some_and(|info| info.contains("cluster_state:ok"))
            };
            node.wait_for(&["CLUSTER", "INFO"], is_ok);
        }
        let url = nodes.iter().map(Server::url).collect::<Vec<_>>().join(",");
        (nodes, url)
    });
    url
}

/// How a [`FaultyProxy`] treats traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Forward,
    /// Accepts data on existing connections without forwarding it or closing them, as a half-open connection does. New connections
    /// are forwarded.
    BlackHole,
    /// Forwards requests, and resets the connection instead of forwarding the reply.
    ResetReplies,
}

/// A TCP proxy between a client and a server that fails on demand.
pub struct FaultyProxy {
    port: u16,
    mode: watch::Sender<(Mode, u64)>,
    to: watch::Sender<u16>,
    pub opened: Arc<AtomicUsize>,
}

impl FaultyProxy {
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mode, modes) = watch::channel((Mode::Forward, 0));
        let (to, target) = watch::channel(port);
        let proxy = Self { port: listener.local_addr().unwrap().port(), mode, to, opened: Arc::default() };
        let opened = Arc::clone(&proxy.opened);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (port, mode) = (*target.borrow(), modes.clone());
                tokio::spawn(forward(client, port, mode));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sets the mode of existing connections. New connections are forwarded, except in [`Mode::ResetReplies`].
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_modify(|(now, at)| (*now, *at) = (mode, *at + 1));
    }

    /// Sets the port that new connections are forwarded to.
    pub fn set_target(&self, port: u16) {
        self.to.send_replace(port);
    }
}

async fn forward(client: TcpStream, port: u16, modes: watch::Receiver<(Mode, u64)>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let opened_at = modes.borrow().1;
    let is_black_hole = || {
        let (mode, at) = *modes.borrow();
        mode == Mode::BlackHole && at > opened_at
    };
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            ready = from_client.readable() => {
                if ready.is_err() { return }
                match from_client.try_read(&mut buffer) {
                    Ok(0) => return,
                    Ok(_) if is_black_hole() => {}
                    Ok(n) => if to_server.write_all(&buffer[..n]).await.is_err() { return },
                    Err(_) => {}
                }
            }
            ready = from_server.readable() => {
                if ready.is_err() { return }
                match from_server.try_read(&mut buffer) {
                    Ok(0) => return,
                    // The connection has already been set up, so this is the reply of a script.
                    Ok(_) if modes.borrow().0 == Mode::ResetReplies => {
                        return from_client.reunite(to_client).unwrap().set_zero_linger().unwrap();
                    }
                    Ok(_) if is_black_hole() => {}
                    Ok(n) => if to_client.write_all(&buffer[..n]).await.is_err() { return },
                    Err(_) => {}
                }
            }
        }
    }
}
