//! What one server knows of a limit that it shares: the calls that others must hear of, the grants in its hand,
//! and whether it may call on its own.
//!
//! **Together**, a call needs a grant of Redis. **Alone**, a server keeps to its share. The two never add up to more
//! than the limit:
//!
//! * Redis keeps back the share of every server that it has not heard for [`SILENCE`].
//! * A server calls on its own no sooner than a silence, the longest time until a call is counted, and a window after
//!   Redis can have heard it last. By then its share has been kept back for so long that nothing that was granted of
//!   it to others counts any more, however late it came to the provider.
//! * Coming back, it tells its calls first, makes none on its own meanwhile, and only then counts as heard.
//! * A new server counts as heard only after a silence, so that the one it may replace does not count any more.
//! * When Redis has forgotten everything, all tell it again; until every server has, nothing is granted for as long as
//!   what it knew could count.
//!
//! With a single server there is nobody to keep back a share for, and all of this takes no time.

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_core::limit::Quota;
use panscan_core::time::Timestamp;

/// For so long a server counts as heard.
pub(super) const SILENCE: Duration = Duration::from_millis(1_500);
/// How long a single server tries to reach Redis before it goes on without: others may exist after all.
const GRACE: Duration = Duration::from_millis(500);
/// Calls told in one message.
const TOLD_MAX: usize = 256;
/// Grants asked for in one message.
const WANT_MAX: u32 = 64;

/// A call that others must hear of.
#[derive(Debug, Clone, Copy)]
struct Call {
    /// The instant from which it does not count any more.
    clear: Timestamp,
    /// Whether Redis does not know this yet.
    untold: bool,
}

/// The state of sharing.
pub(super) struct Share {
    peers: u32,
    /// Calls in a window that are this server's own.
    own: u32,
    /// The window with its margin.
    window: Duration,
    /// How long a grant counts when nothing more is heard of it.
    pub(super) hold: Duration,
    calls: BTreeMap<u64, Call>,
    grants: Vec<u64>,
    next: u64,
    mode: Mode,
    /// From when on this server may count as heard.
    heard_from: Timestamp,
    /// From when on it may call on its own.
    alone_from: Timestamp,
    /// The last call on its own, where the share is less than a call in a window.
    alone_last: Option<Timestamp>,
    /// What Redis was begun with; 0 is not known.
    epoch: i64,
    /// Whether the last message was answered. If not, the next one only asks whether Redis is there: it must not
    /// put off the instant from which we may call on our own.
    proved: bool,
    /// Redis's clock less ours, in microseconds.
    offset: i64,
}

/// Whose permission a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Redis's.
    Together,
    /// Nobody's, as Redis is just being told that we are back.
    Joining,
    /// Its own.
    Alone,
}

/// Whether a call may start as far as others are concerned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// With this number.
    Go(u64),
    /// Not before this instant.
    After(Timestamp),
    /// Redis must be asked.
    Ask,
}

/// A message to Redis.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) epoch: i64,
    /// In Redis's clock, microseconds.
    pub(super) not_after: i64,
    pub(super) heard: bool,
    pub(super) want: u32,
    pub(super) first: u64,
    /// Number of each call and the microseconds for which it still counts.
    pub(super) told: Vec<(u64, i64)>,
    /// What was told, to know later whether it is still so.
    as_of: Vec<Timestamp>,
}

/// An answer of Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) verdict: i64,
    pub(super) epoch: i64,
    pub(super) now: i64,
    pub(super) granted: u32,
    pub(super) wait: Duration,
}

impl Share {
    /// One of `peers` servers that keep to `quota`, each of whose calls is counted within `call_max`.
    pub(super) fn new(quota: Quota, peers: u32, call_max: Duration, now: Timestamp) -> Self {
        let peers = peers.max(1);
        let window = quota.window() + quota.margin();
        let hold = call_max + window + SILENCE;
        let (heard_from, alone_from) =
            if peers == 1 { (now, now.after(GRACE)) } else { (now.after(SILENCE), now.after(hold)) };
        Self {
            peers,
            own: quota.calls() / peers,
            window,
            hold,
            calls: BTreeMap::new(),
            grants: Vec::new(),
            next: 1,
            mode: Mode::Alone,
            heard_from,
            alone_from,
            alone_last: None,
            epoch: 0,
            proved: false,
            offset: 0,
        }
    }

    /// The servers and the share of this one: what Redis must know.
    pub(super) fn terms(&self) -> (u32, u32) {
        (self.peers, self.own)
    }

    /// Calls in a window that the log may have; `None` is all.
    pub(super) fn ceiling(&self) -> Option<u32> {
        (self.mode == Mode::Alone).then_some(self.own)
    }

    /// Notes a call of an earlier process.
    pub(super) fn note(&mut self, clear: Timestamp) {
        let number = self.number();
        self.calls.insert(number, Call { clear, untold: true });
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Whether a call may start at `now`; if so, it is taken that it does.
    pub(super) fn start(&mut self, now: Timestamp) -> Say {
        let clear = now.after(self.hold);
        match self.mode {
            Mode::Joining => Say::Ask,
            Mode::Together => match self.grants.pop() {
                Some(number) => {
                    self.calls.insert(number, Call { clear, untold: false });
                    Say::Go(number)
                }
                None => Say::Ask,
            },
            Mode::Alone => {
                let spaced = match self.alone_last {
                    // Less than a call in a window: one in as many windows as there are servers.
                    Some(last) if self.own == 0 => last.after(self.window * self.peers),
                    _ => self.alone_from,
                };
                let from = self.alone_from.max(spaced);
                if from > now {
                    return Say::After(from);
                }
                self.alone_last = Some(now);
                let number = self.number();
                self.calls.insert(number, Call { clear, untold: true });
                Say::Go(number)
            }
        }
    }

    /// Notes until when call `number` counts.
    pub(super) fn counts_until(&mut self, number: u64, clear: Timestamp) {
        if let Some(call) = self.calls.get_mut(&number) {
            *call = Call { clear, untold: true };
        }
    }

    /// The next message, where `want` calls could start.
    pub(super) fn compose(&mut self, now: Timestamp, timeout: Duration, want: u32) -> Message {
        self.calls.retain(|_, call| call.untold || call.clear > now);
        let untold = self.calls.iter().filter(|(_, call)| call.untold);
        let (mut told, mut as_of) = (Vec::new(), Vec::new());
        for (number, call) in untold.take(TOLD_MAX) {
            told.push((*number, micros(call.clear.since(now))));
            as_of.push(call.clear);
        }
        let all = told.len() < TOLD_MAX;
        let heard = all && self.proved && now >= self.heard_from;
        let patience = timeout * 2;
        if heard {
            if self.mode == Mode::Alone {
                self.mode = Mode::Joining;
            }
            self.heard_at(now.after(patience));
        }
        let want = if heard && self.mode == Mode::Together { want.min(WANT_MAX) } else { 0 };
        let first = self.next;
        self.next += u64::from(want);
        let not_after = now.as_nanos() / 1_000 + self.offset + micros(patience);
        Message { epoch: self.epoch, not_after, heard, want, first, told, as_of }
    }

    /// Redis can have heard this server at `at`.
    fn heard_at(&mut self, at: Timestamp) {
        let wait = if self.peers == 1 { GRACE } else { self.hold };
        self.alone_from = self.alone_from.max(at.after(wait));
    }

    /// Takes an answer in. Grants are to be used at once and the rest to be given back by [`Share::give_back`].
    pub(super) fn absorb(&mut self, message: &Message, reply: &Reply, now: Timestamp) {
        self.offset = reply.now - now.as_nanos() / 1_000;
        self.proved = true;
        if reply.verdict == 0 {
            for ((number, _), clear) in message.told.iter().zip(&message.as_of) {
                if let Some(call) = self.calls.get_mut(number)
                    && call.clear == *clear
                {
                    call.untold = false;
                }
            }
            if message.heard {
                self.mode = Mode::Together;
            }
            let granted = u64::from(reply.granted.min(message.want));
            self.grants.extend((message.first..message.first + granted).rev());
            return;
        }
        // It knows nothing of us, or came too late.
        self.grants.clear();
        self.mode = Mode::Alone;
        if self.epoch != reply.epoch {
            self.epoch = reply.epoch;
            for call in self.calls.values_mut() {
                call.untold = true;
            }
        }
    }

    /// There was no answer: what was asked for may have been granted, and is given back when Redis is heard again.
    pub(super) fn lost(&mut self, message: Option<&Message>, now: Timestamp) {
        self.mode = Mode::Alone;
        self.proved = false;
        self.give_back(now);
        if let Some(message) = message {
            for number in message.first..message.first + u64::from(message.want) {
                self.calls.insert(number, Call { clear: now, untold: true });
            }
        }
    }

    /// Gives back what was granted and not used.
    pub(super) fn give_back(&mut self, now: Timestamp) {
        for number in self.grants.drain(..) {
            self.calls.insert(number, Call { clear: now, untold: true });
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        self.calls.values().any(|call| call.untold)
    }

    /// How long to wait for the next message when there is nothing to tell or to ask.
    pub(super) fn rest(&self, now: Timestamp) -> Duration {
        if self.mode != Mode::Together {
            return self.heard_from.since(now);
        }
        if self.peers == 1 { SILENCE * 4 } else { SILENCE / 4 }
    }
}

pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX)
}
