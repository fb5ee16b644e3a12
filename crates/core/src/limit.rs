//! Rate limits and retries as arithmetic: quotas, the log of a sliding window, backoff, a retry budget.
//!
//! Nothing here waits, reads a clock or draws a random number: callers bring the instant and the number and do the
//! waiting. Instants must come from a clock that does not jump; one that does costs time, never the limit.

mod quota;
mod retry;
mod window;

pub use self::quota::Quota;
pub use self::retry::{Backoff, RetryBudget};
pub use self::window::WindowLog;
