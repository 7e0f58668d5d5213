//! The test environment: two servers, their databases, a fake provider that counts what it serves, and users who chat continuously.

use anyhow::{Context as _, ensure};
use bench::process::{Database, Process, env, free_port, owner_url};
use bench::user::{User, Users, ask_anything};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Number of users who chat continuously.
const USERS: usize = 12;
/// Maximum recovery time before a fault counts as permanent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A private Redis server with its own data folder, killed and removed on drop.
pub struct Redis {
    child: Child,
    pub port: u16,
    folder: std::path::PathBuf,
}

impl Redis {
    pub fn start(port: u16) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("quotient-chaos-{port}"));
        std::fs::create_dir_all(&folder)?;
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(30), "redis-server didn't start within 30 s");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(Self { child, port, folder })
    }

    /// Sends one command and returns the reply.
    pub fn send(&self, words: &[&str]) -> anyhow::Result<redis::Value> {
        let mut connection = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        Ok(command.query(&mut connection)?)
    }

    /// Kills the server and starts it again on the same port and data folder.
    pub fn restart(mut self) -> anyhow::Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        let next = Self::start(self.port)?;
        // The new server owns the data folder now, so dropping this one must not remove it.
        self.folder = std::path::PathBuf::new();
        Ok(next)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A TCP proxy to Postgres whose connections can be frozen.
pub struct Wire {
    pub port: u16,
    generation: Arc<AtomicU64>,
}

impl Wire {
    pub async fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let wire = Self { port: listener.local_addr()?.port(), generation: Arc::default() };
        let generation = Arc::clone(&wire.generation);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (client, server) = (client.into_split(), server.into_split());
                let born = generation.load(Ordering::SeqCst);
                for (mut from, mut to) in [(client.0, server.1), (server.0, client.1)] {
                    let generation = Arc::clone(&generation);
                    tokio::spawn(async move {
                        let mut buffer = vec![0; 65_536];
                        while let Ok(n @ 1..) = from.read(&mut buffer).await {
                            let is_frozen = generation.load(Ordering::SeqCst) != born;
                            if !is_frozen && to.write_all(&buffer[..n]).await.is_err() {
                                return;
                            }
                        }
                        if generation.load(Ordering::SeqCst) != born {
                            std::future::pending::<()>().await;
                        }
                    });
                }
            }
        });
        Ok(wire)
    }

    pub fn freeze(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

/// Outcomes that users saw since the last `take`.
#[derive(Default)]
pub struct Seen {
    pub answered: AtomicU64,
    /// 429 and 503 responses with `Retry-After`.
    pub refused: AtomicU64,
    /// Broken connections, and streams that ended with a problem.
    pub broken: AtomicU64,
    /// 500 responses, and 503 responses without `Retry-After`.
    pub wrong: AtomicU64,
}

impl Seen {
    pub fn take(&self) -> String {
        let take = |n: &AtomicU64| n.swap(0, Ordering::SeqCst);
        let (answered, refused) = (take(&self.answered), take(&self.refused));
        format!("{answered} answered, {refused} refused, {} broken, {} wrong", take(&self.broken), take(&self.wrong))
    }
}

pub struct World {
    pub db: Database,
    pub redis: Option<Redis>,
    pub wire: Wire,
    pub provider: Process,
    pub servers: Vec<Option<Process>>,
    pub urls: [String; 2],
    pub users: Users,
    pub seen: Arc<Seen>,
    settings: Vec<(&'static str, String)>,
    stop: Arc<AtomicBool>,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        let db = Database::fresh().await?;
        let redis = Redis::start(free_port()?)?;
        let provider = Process::fakes()?;
        let (head, name) = db.url.rsplit_once('/').context("no database")?;
        let (user, address) = head.rsplit_once('@').context("no user")?;
        let wire = Wire::to(address.rsplit_once(':').context("no port")?.1.parse()?).await?;
        let urls = [(); 2].map(|()| format!("http://127.0.0.1:{}", free_port().unwrap_or(0)));
        let settings = vec![
            ("MIGRATE_DATABASE_URL", owner_url(&db.url)?),
            ("DATABASE_URL", format!("{user}@127.0.0.1:{}/{name}", wire.port)),
            ("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port)),
            ("SECRET_KEY", format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())),
            ("ANTHROPIC_API_KEY", "chaos".to_owned()),
            ("ANTHROPIC_BASE_URL", provider.url.clone()),
            ("PROVIDER_FIRST_BYTE_TIMEOUT_MS", "12000".to_owned()),
            ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("GLOBAL_DAILY_SPEND_USD", "none".to_owned()),
            ("TITLES", "text".to_owned()),
            ("API_REQUESTS_PER_MINUTE", "1000000".to_owned()),
            ("RUST_LOG", env("RUST_LOG").unwrap_or_else(|_| "off".to_owned())),
        ];
        let first = Process::with_settings(&urls[0], &settings, &[])?;
        db.no_limits().await?;
        let users = Users::sign_up(db.pool(), &urls[0], USERS + 8).await?;
        let mut world = Self {
            db,
            redis: Some(redis),
            wire,
            provider,
            servers: vec![Some(first), None],
            urls,
            users,
            seen: Arc::default(),
            settings,
            stop: Arc::default(),
        };
        world.start(1, &[])?;
        Ok(world)
    }

    /// Starts one of the two servers with additional settings.
    pub fn start(&mut self, n: usize, more: &[(&str, &str)]) -> anyhow::Result<()> {
        self.servers[n] = Some(Process::with_settings(&self.urls[n], &self.settings, more)?);
        Ok(())
    }

    /// Returns a user outside the background chat, connected to one of the servers.
    pub fn user(&self, n: usize, server: usize) -> User {
        self.users.one(USERS + n).at(&self.urls[server])
    }

    /// Starts the background chat: each user sends one message after another, alternating between the servers.
    pub fn chat(&self) -> tokio::task::JoinSet<()> {
        let mut all = tokio::task::JoinSet::new();
        for n in 0..USERS {
            let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
            let at = [self.users.one(n).at(&self.urls[0]), self.users.one(n).at(&self.urls[1])];
            all.spawn(async move {
                for turn in n.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let text = format!("{{{{words:10}}}}{{{{pace:5}}}} turn {turn}");
                    let count = match ask_anything(&at[turn % 2], &text).await {
                        Ok((200, _, true)) => &seen.answered,
                        Ok((429 | 503, true, _)) => &seen.refused,
                        Ok((200 | 410 | 502, ..)) | Err(_) => &seen.broken,
                        Ok(_) => &seen.wrong,
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    // Limits the load to 20 messages a second per user.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        all
    }

    pub fn stop_chat(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Measures how long it takes until both servers answer a new message. Fails after 60 s.
    pub async fn recovery(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for server in 0..2 {
            let user = self.user(7, server);
            while !matches!(ask_anything(&user, "{{words:2}} recovered?").await, Ok((200, _, true))) {
                ensure!(began.elapsed() < PATIENCE, "server {server} didn't recover within {PATIENCE:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(began.elapsed())
    }
}
