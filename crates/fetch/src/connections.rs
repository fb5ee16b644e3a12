//! The connections of all providers together: how many are in use, and who has the next one.
//!
//! Not here: idle ones, which each provider's own pool keeps, and the rate limits, which are a provider's own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Connections that all who hold a clone of this share. Who found none free goes before who asks later.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    seats: u64,
    /// Each is here once, however many calls it has waiting.
    waiting: VecDeque<(Seat, Weak<dyn Waiting>)>,
}

/// Tells apart who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(u64);

/// Someone who found no connection free.
pub(crate) trait Waiting: Send + Sync {
    /// A connection is free now: takes it, or leaves the line.
    fn look(self: Arc<Self>);
}

/// A connection in use until it is dropped.
pub(crate) struct Connection(Connections);

/// Rings when a connection is free.
#[derive(Default)]
struct Bell(Notify);

/// A place in the line, given up when dropped.
struct Place<'a> {
    connections: &'a Connections,
    seat: Seat,
}

impl Connections {
    /// So many at once, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most: most.max(1), state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In use now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// Not in use now.
    pub(crate) fn free(&self) -> usize {
        self.0.most.saturating_sub(self.used())
    }

    /// A name to stand in line under.
    pub(crate) fn seat(&self) -> Seat {
        let mut state = self.state();
        state.seats += 1;
        Seat(state.seats)
    }

    /// Takes a connection, or stands in line for one.
    pub(crate) fn take(&self, seat: Seat, who: impl FnOnce() -> Weak<dyn Waiting>) -> Option<Connection> {
        let mut state = self.state();
        let place = state.waiting.iter().position(|(other, _)| *other == seat);
        let before = place.unwrap_or(state.waiting.len());
        if self.0.most.saturating_sub(state.used) > before {
            if let Some(place) = place {
                state.waiting.remove(place);
            }
            state.used += 1;
            return Some(Connection(self.clone()));
        }
        if place.is_none() {
            state.waiting.push_back((seat, who()));
        }
        None
    }

    /// Leaves the line, if in it.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|(other, _)| *other != seat);
        let left = state.waiting.len() < before;
        drop(state);
        if left {
            self.tell();
        }
    }

    /// Waits for a connection.
    pub(crate) async fn acquire(&self) -> Connection {
        let bell = Arc::new(Bell::default());
        let place = Place { connections: self, seat: self.seat() };
        let who: Arc<dyn Waiting> = bell.clone();
        loop {
            if let Some(connection) = self.take(place.seat, || Arc::downgrade(&who)) {
                return connection;
            }
            bell.0.notified().await;
        }
    }

    /// Tells those whose turn it is. Each takes what is free or leaves the line, upon which the next are told.
    fn tell(&self) {
        let mut state = self.state();
        state.waiting.retain(|(_, who)| who.strong_count() > 0);
        let free = self.0.most.saturating_sub(state.used);
        let next: Vec<_> = state.waiting.iter().take(free).filter_map(|(_, who)| who.upgrade()).collect();
        drop(state);
        for who in next {
            who.look();
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} connections", self.used(), self.0.most)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.state().used -= 1;
        self.0.tell();
    }
}

impl Waiting for Bell {
    fn look(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connections.leave(self.seat);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_goes_before_who_comes_and_who_leaves_is_passed_over() {
        let connections = Connections::new(2);
        let (first, second) = (connections.acquire().await, connections.acquire().await);
        let mut third = Box::pin(connections.acquire());
        let mut gone = Box::pin(connections.acquire());
        let mut fourth = Box::pin(connections.acquire());
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut gone).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        drop(first);
        assert!(connections.acquire().now_or_never().is_none(), "the free one is the third's");
        drop(gone);
        let third = (&mut third).now_or_never().expect("its turn");
        assert!((&mut fourth).now_or_never().is_none());
        drop(second);
        let fourth = (&mut fourth).now_or_never().expect("its turn");
        assert_eq!((connections.used(), connections.free()), (2, 0));
        drop((third, fourth));
        assert_eq!(connections.used(), 0);
        assert!(connections.state().waiting.is_empty());
    }
}
