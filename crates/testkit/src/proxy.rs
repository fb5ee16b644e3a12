//! A TCP proxy that a test puts between two parts to cut, silence or refuse their connections.

#![expect(clippy::expect_used, reason = "a test that cannot set its proxy up ends here, with the reason")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to bytes and new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// Connections are taken and nothing passes on them.
    Silent,
    /// New connections are closed at once; those that are there go on.
    Closed,
}

/// A proxy in front of one address, which may change.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    way: watch::Sender<Way>,
    cut: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one on a free port of loopback.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let target = Arc::new(Mutex::new(target));
        let (way, cut) = (watch::Sender::new(Way::Open), watch::Sender::new(0));
        let (to, ways, cuts) = (target.clone(), way.subscribe(), cut.subscribe());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while open.try_join_next().is_some() {}
                if *ways.borrow() == Way::Closed {
                    continue;
                }
                let target = *to.lock().unwrap_or_else(PoisonError::into_inner);
                open.spawn(joined(client, target, ways.clone(), cuts.clone()));
            }
        });
        Self { addr, target, way, cut, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends new connections somewhere else.
    pub fn retarget(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Changes what happens from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Closes every connection that is open.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until one side ends or the connection is cut.
async fn joined(
    client: TcpStream,
    target: SocketAddr,
    way: watch::Receiver<Way>,
    mut cut: watch::Receiver<u64>,
) {
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        _ = carry(from_client, to_server, way.clone()) => {}
        _ = carry(from_server, to_client, way) => {}
        _ = cut.changed() => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 || way.wait_for(|way| *way != Way::Silent).await.is_err() {
            return Ok(());
        }
        to.write_all(&bytes[..n]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn carries_holds_back_cuts_and_refuses() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(echo.local_addr().unwrap()).await;
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let mut answer = [0; 4];
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");

        proxy.set(Way::Silent);
        stream.write_all(b"more").await.unwrap();
        let silent = std::time::Duration::from_millis(30);
        assert!(tokio::time::timeout(silent, stream.read_exact(&mut answer)).await.is_err());
        proxy.set(Way::Open);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"more");

        proxy.cut();
        assert_eq!(stream.read(&mut answer).await.unwrap_or(0), 0, "the connection is gone");
        proxy.set(Way::Closed);
        let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(refused.read(&mut answer).await.unwrap_or(0), 0);
        server.abort();
    }
}
