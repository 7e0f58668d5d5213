//! A TCP proxy whose connections can be frozen, as happens when a switch or firewall fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub struct Wire {
    pub port: u16,
    /// Connections opened in an earlier generation forward nothing.
    generation: Arc<AtomicU64>,
    /// Whether new connections forward nothing.
    is_silent: Arc<AtomicBool>,
    /// Number of connections so far.
    accepted: Arc<AtomicU64>,
}

impl Wire {
    /// Starts a proxy to the Postgres of a database URL. Returns it with the URL that leads through it.
    pub async fn to_postgres(url: &str) -> (Self, String) {
        let (head, name) = url.rsplit_once('/').unwrap();
        let (user, address) = head.rsplit_once('@').unwrap();
        let wire = Self::to(address.rsplit_once(':').unwrap().1.parse().unwrap()).await;
        let through = format!("{user}@127.0.0.1:{}/{name}", wire.port);
        (wire, through)
    }

    /// Starts a proxy to a local port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            generation: Arc::default(),
            is_silent: Arc::default(),
            accepted: Arc::default(),
        };
        let generation = Arc::clone(&wire.generation);
        let (is_silent, accepted) = (Arc::clone(&wire.is_silent), Arc::clone(&wire.accepted));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (client, server) = (client.into_split(), server.into_split());
                // No generation reaches the maximum.
                let born = if is_silent.load(Ordering::SeqCst) { u64::MAX } else { generation.load(Ordering::SeqCst) };
                accepted.fetch_add(1, Ordering::SeqCst);
                for (mut from, mut to) in [(client.0, server.1), (server.0, client.1)] {
                    let generation = Arc::clone(&generation);
                    tokio::spawn(async move {
                        let mut buffer = vec![0; 65_536];
                        while let Ok(n @ 1..) = from.read(&mut buffer).await {
                            // A frozen connection accepts data, sends none and never closes.
                            if generation.load(Ordering::SeqCst) == born && to.write_all(&buffer[..n]).await.is_err() {
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
        wire
    }

    /// Freezes all open connections. New connections work.
    pub fn freeze(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Decides whether connections that are opened from now on forward nothing.
    pub fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Returns how many connections were opened.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}
