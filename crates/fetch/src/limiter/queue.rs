//! Who is next: interactive before background, and callers of one urgency in turns.
//!
//! A caller who asks for a thousand calls delays another one's single call by one turn and not by a thousand.
//! While both urgencies wait, one turn in [`SHARE_OF_BACKGROUND`] goes to the background, so that it is late and
//! not forgotten.

use std::collections::{HashMap, VecDeque};

use panscan_core::port::{Errand, Urgency};

/// Of so many turns one goes to the background while interactive calls wait too.
const SHARE_OF_BACKGROUND: u32 = 50;

/// What waits, with a number each.
pub(super) struct Queue<T> {
    interactive: Lane<T>,
    background: Lane<T>,
    /// Turns that went past a waiting background.
    passed_over: u32,
    tickets: u64,
    len: usize,
}

/// The waiting of one urgency.
struct Lane<T> {
    /// Callers in the order of their turns.
    order: VecDeque<u64>,
    /// What each of them waits for, the oldest first; never empty.
    waiting: HashMap<u64, VecDeque<(u64, T)>>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    errand: Errand,
    ticket: u64,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new() }
    }

    fn push(&mut self, caller: u64, ticket: u64, item: T) {
        let queue = self.waiting.entry(caller).or_insert_with(|| {
            self.order.push_back(caller);
            VecDeque::new()
        });
        queue.push_back((ticket, item));
    }

    fn pop(&mut self) -> Option<T> {
        let caller = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&caller)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.order.push_back(caller);
        }
        item.map(|(_, item)| item)
    }

    fn remove(&mut self, caller: u64, ticket: u64) -> bool {
        let Some(queue) = self.waiting.get_mut(&caller) else { return false };
        // Tickets of one caller are in the order of their numbers.
        let Ok(index) = queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else { return false };
        queue.remove(index);
        if queue.is_empty() {
            self.waiting.remove(&caller);
            self.order.retain(|other| *other != caller);
        }
        true
    }
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { interactive: Lane::new(), background: Lane::new(), passed_over: 0, tickets: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Enters at the end of the caller's own queue.
    pub(super) fn push(&mut self, errand: Errand, item: T) -> Place {
        self.tickets += 1;
        self.len += 1;
        let place = Place { errand, ticket: self.tickets };
        self.lane(errand.urgency).push(errand.caller, place.ticket, item);
        place
    }

    /// Takes out whoever is next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let both = !self.interactive.order.is_empty() && !self.background.order.is_empty();
        self.passed_over = if both { self.passed_over + 1 } else { 0 };
        let item = if self.passed_over >= SHARE_OF_BACKGROUND {
            self.passed_over = 0;
            self.background.pop()
        } else {
            self.interactive.pop().or_else(|| self.background.pop())
        };
        self.len -= usize::from(item.is_some());
        item
    }

    /// Leaves; one that was popped already is not there any more.
    pub(super) fn leave(&mut self, place: Place) {
        let left = self.lane(place.errand.urgency).remove(place.errand.caller, place.ticket);
        self.len -= usize::from(left);
    }

    fn lane(&mut self, urgency: Urgency) -> &mut Lane<T> {
        match urgency {
            Urgency::Interactive => &mut self.interactive,
            Urgency::Background => &mut self.background,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn callers_take_turns_and_the_background_comes_last() {
        let mut queue = Queue::new();
        queue.push(Errand::background(), "z1");
        for item in ["a1", "a2", "a3"] {
            queue.push(Errand::interactive(1), item);
        }
        queue.push(Errand::interactive(2), "b1");
        let c1 = queue.push(Errand::interactive(3), "c1");
        queue.push(Errand::interactive(3), "c2");
        queue.leave(c1);
        queue.leave(c1);
        assert_eq!(queue.len(), 6);
        assert_eq!(all(&mut queue), ["a1", "b1", "c2", "a2", "a3", "z1"]);
        assert_eq!(queue.len(), 0);
        queue.leave(c1);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn the_background_is_late_and_not_forgotten() {
        let mut queue = Queue::new();
        queue.push(Errand::background(), 0);
        for n in 1..=200 {
            queue.push(Errand::interactive(n % 3), n);
        }
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order.iter().position(|n| *n == 0), Some(49));
        assert_eq!(order.len(), 201);
    }

    #[test]
    fn who_leaves_last_takes_its_caller_out_of_the_order() {
        let mut queue = Queue::new();
        let place = queue.push(Errand::interactive(1), "a1");
        queue.push(Errand::interactive(2), "b1");
        queue.leave(place);
        queue.push(Errand::interactive(1), "a2");
        assert_eq!(all(&mut queue), ["b1", "a2"]);
    }
}
