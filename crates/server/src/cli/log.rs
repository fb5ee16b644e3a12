//! The log on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::{Color, LogFormat};

/// Starts the log of this process. A second start is ignored.
pub fn start(filter: &str, format: LogFormat, color: Color) {
    // The filter was read with the settings; should it be wrong all the same, warnings still come through.
    let filter: Targets =
        filter.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::WARN));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(colored(color))
                    .with_target(false),
            )
            .try_init(),
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(io::stderr)).try_init()
        }
    };
    // Only tests start it twice.
    drop(started);
}

/// Whether stderr takes colours.
#[must_use]
pub fn colored(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal(),
    }
}
