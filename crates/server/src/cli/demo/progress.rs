//! The bar that runs while the cold fetch does: calls made, budget, time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use panscan_sim::{Audit, Simulator};

/// How often the bar is brought up to date.
const TICK: Duration = Duration::from_millis(100);

/// A bar on stderr; nothing at all where it would not be seen.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `calls` calls.
    pub fn new(calls: u64, symbols: usize, seen: bool) -> Self {
        let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(calls), target);
        let template = "  fetching {wide_bar:.cyan} {pos}/{len} calls, {msg}, {elapsed} so far, {eta} left";
        // A template that cannot be read leaves the plain bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{symbols} symbols"));
        Self { bar }
    }

    /// Follows the simulator's count of calls until `work` is done.
    pub async fn during<T>(self, simulator: &Simulator, symbols: usize, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut work => {
                    self.bar.finish_and_clear();
                    return done;
                }
                _ = tick.tick() => self.show(&simulator.audit(), symbols),
            }
        }
    }

    fn show(&self, audit: &Audit, symbols: usize) {
        let budget = match audit.window_limit {
            Some(limit) => format!("peak {} of {limit} in {:?}", audit.peak_in_window, audit.window),
            None => "no limit".to_owned(),
        };
        let made = audit.total;
        if self.bar.length().is_some_and(|length| made > length) {
            self.bar.set_length(made);
        }
        self.bar.set_position(made);
        self.bar.set_message(format!("{symbols} symbols, {budget}"));
    }
}
