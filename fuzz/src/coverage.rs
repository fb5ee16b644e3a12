//! Which branches an input took: the counters that the compiler puts on every edge of instrumented code.
//!
//! Built without instrumentation there are none, and every input looks alike. One of the modules that hold unsafe
//! code: the compiler hands the counters over as raw spans, one for each part of the program.

#![expect(unsafe_code, reason = "the compiler hands its counters over as raw pointers")]

use std::sync::Mutex;

/// A span of counters.
struct Span {
    start: *mut u8,
    len: usize,
}

// SAFETY: a span is a static of the program; it is read and written under the lock of `SPANS` only, apart from the
// increments of the instrumented code itself, which runs on the one thread that asks.
unsafe impl Send for Span {}

static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());

/// Called by instrumented code before `main`.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let len = (stop as usize).saturating_sub(start as usize);
    if let Ok(mut spans) = SPANS.lock()
        && spans.iter().all(|span| span.start != start)
    {
        spans.push(Span { start, len });
    }
}

/// The branches met so far, by how often: eight classes a counter.
#[derive(Debug, Default)]
pub struct Seen(Vec<u8>);

impl Seen {
    /// Counters that the program has.
    #[must_use]
    pub fn edges() -> usize {
        SPANS.lock().map_or(0, |spans| spans.iter().map(|span| span.len).sum())
    }

    /// Branches met at least once.
    #[must_use]
    pub fn met(&self) -> usize {
        self.0.iter().filter(|classes| **classes != 0).count()
    }

    /// Sets all counters to zero.
    pub fn begin() {
        let Ok(spans) = SPANS.lock() else { return };
        for span in spans.iter() {
            // SAFETY: the compiler gave the span as its static counters; nothing else runs now.
            unsafe { std::ptr::write_bytes(span.start, 0, span.len) };
        }
    }

    /// Adds what was met since [`Seen::begin`]; whether any of it is new.
    pub fn add(&mut self) -> bool {
        let Ok(spans) = SPANS.lock() else { return false };
        self.0.resize(spans.iter().map(|span| span.len).sum(), 0);
        let mut new = false;
        let mut at = 0;
        for span in spans.iter() {
            // SAFETY: as above; the bytes are only read while this borrow lives.
            let counters = unsafe { std::slice::from_raw_parts(span.start, span.len) };
            for (seen, &count) in self.0[at..at + span.len].iter_mut().zip(counters) {
                if count != 0 {
                    let class = match count {
                        1 => 1,
                        2 => 2,
                        3 => 4,
                        4..=7 => 8,
                        8..=15 => 16,
                        16..=31 => 32,
                        32..=127 => 64,
                        _ => 128,
                    };
                    new |= *seen & class == 0;
                    *seen |= class;
                }
            }
            at += span.len;
        }
        new
    }
}
