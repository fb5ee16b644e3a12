//! What lies outside this machine: the provider, its clock, the universe file, a running server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panscan_core::calendar::{Announced, Calendar};
use panscan_core::port::{BarSource, Clock as _, SourceError, SourceStatus};
use panscan_core::time::Timestamp;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Row;
use crate::clock::SystemClock;
use crate::config::{ClockSetting, Settings};

/// Longest wait for the provider, queueing for its rate limit included.
const WAIT: Duration = Duration::from_secs(20);
/// Clocks farther apart than this give wrong sessions at their borders.
const SKEW_WARN: Duration = Duration::from_secs(5);

/// What was learnt of the provider.
pub(super) enum Asked {
    /// `--offline`.
    No,
    /// There is no key to ask with.
    NoKey,
    /// What it said, how long that took, and what it announces of the days ahead.
    Answer(SourceStatus, Duration, Result<Vec<Announced>, SourceError>),
    /// It did not serve the call.
    Failed(SourceError),
    /// Its client could not be built.
    Broken(String),
}

/// Asks the provider for its status.
pub(super) async fn ask(
    settings: &Settings,
    source: Result<Arc<dyn BarSource>, String>,
    offline: bool,
) -> Asked {
    if offline {
        return Asked::No;
    }
    if settings.provider.api_key.is_none() {
        return Asked::NoKey;
    }
    let source = match source {
        Ok(source) => source,
        Err(message) => return Asked::Broken(message),
    };
    let started = Instant::now();
    match tokio::time::timeout(WAIT, source.status()).await {
        Ok(Ok(status)) => {
            let took = started.elapsed();
            let announced = tokio::time::timeout(WAIT, source.announced()).await;
            let late = || SourceError::Unavailable {
                provider: source.name(),
                what: "the market holidays".to_owned(),
                message: format!("no answer within {WAIT:?}"),
            };
            Asked::Answer(status, took, announced.unwrap_or_else(|_| Err(late())))
        }
        Ok(Err(error)) => Asked::Failed(error),
        Err(_) => Asked::Failed(SourceError::Unavailable {
            provider: source.name(),
            what: "the market status".to_owned(),
            message: format!("no answer within {WAIT:?}"),
        }),
    }
}

/// Whether the provider answers.
pub(super) fn provider(settings: &Settings, asked: &Asked) -> Row {
    let at = settings.provider.url.as_deref().map_or(String::new(), |url| format!(" at {url}"));
    match asked {
        Asked::No => Row::ok("provider", format!("polygon{at}, not asked (--offline)")),
        Asked::NoKey => Row::fail("provider", "not asked: there is no key", "set POLYGON_API_KEY"),
        Asked::Answer(status, took, _) => Row::ok(
            "provider",
            format!("polygon{at} answers in {} ms, market {}", took.as_millis(), status.market),
        ),
        Asked::Broken(message) => Row::fail("provider", message, "correct PANSCAN_PROVIDER_URL"),
        Asked::Failed(error) => Row::fail("provider", error.to_string(), remedy(error)),
    }
}

fn remedy(error: &SourceError) -> &'static str {
    match error {
        SourceError::Key { .. } => "set POLYGON_API_KEY to a key that is valid there",
        SourceError::NotEntitled { .. } => "ask the provider for a plan that includes it",
        SourceError::RateLimited { .. } => {
            "lower PANSCAN_RATE_LIMIT, or set PANSCAN_LIMIT_PEERS where servers share the key"
        }
        _ => "look at the network and at PANSCAN_PROVIDER_URL",
    }
}

/// Whether the clocks agree.
pub(super) fn clock(settings: &Settings, asked: &Asked) -> Row {
    let now = SystemClock.now();
    let system = match settings.data.clock {
        ClockSetting::Provider => return Row::ok("clock", "the provider's"),
        ClockSetting::Fixed(at) => {
            return Row::warn("clock", format!("stands at {at}"), "for replays only; unset PANSCAN_CLOCK");
        }
        ClockSetting::System => format!("the machine's, {}", Timestamp::from_seconds(now.as_seconds())),
    };
    let Asked::Answer(status, took, _) = asked else { return Row::ok("clock", system) };
    let skew = status.now.since(now).max(now.since(status.now));
    if skew > SKEW_WARN + *took {
        Row::warn(
            "clock",
            format!("{system}; the provider's is {} s away", skew.as_secs()),
            "synchronise the machine's clock; against a simulator set PANSCAN_CLOCK=provider",
        )
    } else {
        Row::ok("clock", format!("{system}; the provider's agrees"))
    }
}

/// Whether the provider announces the same holidays and half days as panscan's own calendar has.
pub(super) fn calendar(asked: &Asked) -> Row {
    let Asked::Answer(status, _, announced) = asked else {
        return Row::ok("calendar", "panscan's own, not compared with the provider's");
    };
    let announced = match announced {
        Ok(announced) => announced,
        Err(SourceError::NotOffered { .. }) => {
            return Row::ok("calendar", "panscan's own; the provider announces no holidays");
        }
        Err(error) => {
            return Row::warn("calendar", format!("not compared: {error}"), remedy(error));
        }
    };
    let calendar = Calendar::us_equities();
    let differences = calendar.differences(announced, calendar.session_of(status.now));
    if differences.is_empty() {
        let days = announced.len();
        return Row::ok("calendar", format!("agrees with the {days} days that the provider announces"));
    }
    let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
    Row::warn(
        "calendar",
        told.join("; "),
        "panscan goes by its own calendar; on such a day look at the exchange's, and report which is right",
    )
}

/// Whether the universe file can be read.
pub(super) fn universe(settings: &Settings) -> Row {
    let Some(path) = &settings.data.universe else {
        return Row::warn(
            "universe",
            "no file: sector, industry and market_cap have no values",
            "set PANSCAN_UNIVERSE to a CSV or Parquet file with them",
        );
    };
    match panscan_universe::read_universe_file(path) {
        Err(error) => Row::fail("universe", error.to_string(), "correct the file or PANSCAN_UNIVERSE"),
        Ok(import) if import.listings.is_empty() => {
            Row::fail("universe", format!("{} has no symbol", path.display()), "correct the file")
        }
        Ok(import) => {
            let detail = format!("{} symbols in {}", import.listings.len(), path.display());
            match (import.rejected.first(), import.unknown_columns.as_slice()) {
                (Some(first), _) => Row::warn(
                    "universe",
                    format!(
                        "{detail}; {} things that could not be read, the first in line {}: {}",
                        import.rejected_count, first.line, first.reason
                    ),
                    "correct those lines",
                ),
                (None, []) => Row::ok("universe", detail),
                (None, unknown) => {
                    Row::ok("universe", format!("{detail}; unused columns: {}", unknown.join(", ")))
                }
            }
        }
    }
}

/// Whether a running server is ready.
pub(super) async fn server(url: &str) -> Row {
    let asked = async {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        let mut health = HealthClient::new(channel);
        Ok::<_, tonic::transport::Error>(health.check(HealthCheckRequest::default()).await)
    };
    match tokio::time::timeout(WAIT, asked).await {
        Ok(Ok(Ok(answer))) if answer.get_ref().status() == ServingStatus::Serving => {
            Row::ok("server", format!("{url} serves"))
        }
        Ok(Ok(Ok(_))) => Row::warn(
            "server",
            format!("{url} answers and does not serve"),
            "it is starting, waits for its provider or drains; look at its log",
        ),
        Ok(Ok(Err(status))) => Row::fail("server", format!("{url}: {}", status.message()), "look at its log"),
        Ok(Err(_)) | Err(_) => Row::fail(
            "server",
            format!("{url} cannot be reached"),
            "start it with `panscan serve`, or correct the URL",
        ),
    }
}
