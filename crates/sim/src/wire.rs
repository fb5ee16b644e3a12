//! The listening socket, with a way to cut a connection from inside: what a dropped socket is made of, and
//! what ends connections that outlive a graceful stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Cuts the connection that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Cut(CancellationToken);

impl Cut {
    /// Ends the connection without another byte.
    pub(crate) fn now(&self) {
        self.0.cancel();
    }
}

impl Connected<IncomingStream<'_, WireListener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, WireListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Accepts connections that can be cut, one by one or all at once.
pub(crate) struct WireListener {
    listener: TcpListener,
    all: CancellationToken,
}

impl WireListener {
    pub(crate) async fn bind(addr: SocketAddr, all: CancellationToken) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((Self { listener, all }, addr))
    }
}

impl Listener for WireListener {
    type Io = Wire;
    type Addr = Cut;

    async fn accept(&mut self) -> (Wire, Cut) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // answers are whole when written; waiting for more would only add latency
                    let _ = stream.set_nodelay(true);
                    let cut = self.all.child_token();
                    let ended = Box::pin(cut.clone().cancelled_owned());
                    return (Wire { stream, ended }, Cut(cut));
                }
                Err(fault) => {
                    // out of file handles, most likely: trying again at once would spin
                    tracing::warn!(%fault, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Ok(Cut(self.all.clone()))
    }
}

/// A connection that fails once it is cut.
pub(crate) struct Wire {
    stream: TcpStream,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    fn alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.alive(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
