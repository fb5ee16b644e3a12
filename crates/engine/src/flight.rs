//! Single flight: however many callers ask a provider the same question, it is asked once.
//!
//! A question lives as long as somebody waits for it. When the last waiter goes, the call is dropped: one that
//! has not started is never made. A question of nobody in particular that somebody comes to wait for is hurried.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use panscan_core::port::{BarAsk, SourceError, Urgency};
use tokio::sync::Notify;

/// What a finished question says: rows that were decoded and calls that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Landed {
    /// Bars that came.
    pub(crate) bars: u64,
    /// Calls that it took.
    pub(crate) calls: u64,
}

type Answer = Result<Landed, SourceError>;
type Flight = Shared<BoxFuture<'static, Answer>>;

/// A question that is under way.
struct Open {
    flight: WeakShared<BoxFuture<'static, Answer>>,
    /// Rung when somebody waits for what nobody in particular asked.
    hurry: Arc<Notify>,
}

/// The questions that are under way.
#[derive(Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<BarAsk, Open>>,
    coalesced: AtomicU64,
}

impl Flights {
    /// Joins the question if it is under way, else starts it with `make`, which is given what is rung when a caller
    /// who waits has joined.
    pub(crate) async fn join<F>(self: &Arc<Self>, ask: &BarAsk, urgency: Urgency, make: F) -> Answer
    where
        F: FnOnce(Arc<Notify>) -> BoxFuture<'static, Answer>,
    {
        let flight = self.board(ask, urgency, make);
        let answer = flight.await;
        // The first to wake takes the entry out; a later question is a new one.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(ask).is_some_and(|o| o.flight.upgrade().is_none_or(|f| f.peek().is_some())) {
            open.remove(ask);
        }
        answer
    }

    fn board<F>(self: &Arc<Self>, ask: &BarAsk, urgency: Urgency, make: F) -> Flight
    where
        F: FnOnce(Arc<Notify>) -> BoxFuture<'static, Answer>,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = open.get(ask)
            && let Some(flight) = under_way.flight.upgrade()
            && flight.peek().is_none()
        {
            if urgency == Urgency::Interactive {
                under_way.hurry.notify_one();
            }
            self.coalesced.fetch_add(1, Ordering::Relaxed);
            return flight;
        }
        let gone = Gone { flights: Arc::downgrade(self), ask: ask.clone() };
        let hurry = Arc::new(Notify::new());
        let call = make(hurry.clone());
        let flight = async move {
            let _gone = gone;
            call.await
        }
        .boxed()
        .shared();
        if let Some(flight) = flight.downgrade() {
            open.insert(ask.clone(), Open { flight, hurry });
        }
        flight
    }

    /// Callers that joined a question of somebody else.
    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced.load(Ordering::Relaxed)
    }
}

/// Takes an abandoned question off the list.
struct Gone {
    flights: Weak<Flights>,
    ask: BarAsk,
}

impl Drop for Gone {
    fn drop(&mut self) {
        // `try_lock`: when the list is being changed right now, the dead entry is replaced by the next question.
        if let Some(flights) = self.flights.upgrade()
            && let Ok(mut open) = flights.open.try_lock()
            && open.get(&self.ask).is_some_and(|o| o.flight.upgrade().is_none())
        {
            open.remove(&self.ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use panscan_core::time::SessionDate;

    use super::*;

    #[tokio::test]
    async fn many_callers_are_one_call_and_a_later_one_asks_again() {
        let flights = Arc::new(Flights::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let ask = BarAsk::Day(SessionDate::from_days(1));
        let gate = Arc::new(tokio::sync::Notify::new());
        let start = || {
            let (flights, calls, gate, ask) = (flights.clone(), calls.clone(), gate.clone(), ask.clone());
            tokio::spawn(async move {
                let make = |_| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    async move {
                        gate.notified().await;
                        Ok(Landed { bars: 7, calls: 1 })
                    }
                    .boxed()
                };
                flights.join(&ask, Urgency::Interactive, make).await
            })
        };
        let callers: Vec<_> = (0..50).map(|_| start()).collect();
        while flights.coalesced() < 49 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().bars, 7);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        gate.notify_one();
        start().await.unwrap().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_abandoned_question_is_dropped() {
        let flights = Arc::new(Flights::default());
        let ask = BarAsk::Day(SessionDate::from_days(1));
        let never = |_| futures::future::pending().boxed();
        let join = flights.join(&ask, Urgency::Interactive, never);
        let waiter = tokio::time::timeout(std::time::Duration::from_millis(5), join);
        assert!(waiter.await.is_err());
        let fresh = |_| async { Ok(Landed::default()) }.boxed();
        assert!(
            flights.join(&ask, Urgency::Background, fresh).await.is_ok(),
            "the dead question is not joined"
        );
    }

    #[tokio::test]
    async fn a_caller_who_waits_hurries_what_nobody_waited_for() {
        let flights = Arc::new(Flights::default());
        let ask = BarAsk::Day(SessionDate::from_days(1));
        let patient = |hurry: Arc<Notify>| {
            async move {
                hurry.notified().await;
                Ok(Landed { bars: 1, calls: 1 })
            }
            .boxed()
        };
        let never = |_: Arc<Notify>| -> BoxFuture<'static, Answer> { panic!("a second call") };
        let first = flights.join(&ask, Urgency::Background, patient);
        let second = flights.join(&ask, Urgency::Interactive, never);
        assert_eq!(
            futures::join!(first, second),
            (Ok(Landed { bars: 1, calls: 1 }), Ok(Landed { bars: 1, calls: 1 }))
        );
    }
}
