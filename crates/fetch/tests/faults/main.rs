//! What goes wrong in practice with this provider, a test each; the list of rows is in `docs/provider-faults.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod actions;
mod pages;
mod plan;
#[path = "../provider/mod.rs"]
mod provider;
mod rows;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use panscan_core::bar::{BarFault, Field};
use panscan_core::block::BarKey;
use panscan_core::limit::Quota;
use panscan_core::panel::Splits;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, TextAttribute};
use panscan_fetch::decode::PriceField;
use panscan_fetch::polygon::{AggregatesAsk, TickersAsk, Timespan};
use panscan_fetch::{CallConfig, Polygon, PolygonConfig};
use provider::{KEY, answer, day, json, page, serve};

const NOW: Errand = Errand::interactive(0);
const TOO_OLD: &str = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"Your plan doesn't include this data \
                       timeframe. Please upgrade your plan.\"}";
const TOO_EARLY: &str = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"Attempted to request today's data before \
                         end of day. Please upgrade your plan.\"}";

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn date(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn range(name: &str, timeframe: Timeframe, from: &str, to: &str) -> BarAsk {
    BarAsk::Range { symbol: symbol(name), timeframe, from: date(from), to: date(to) }
}

fn bar(stamp: i64, close: f64) -> String {
    format!("{{\"v\":10,\"vw\":2,\"o\":2,\"c\":{close},\"h\":3,\"l\":1,\"t\":{stamp},\"n\":3}}")
}

/// A page of one ticker's bars.
fn bars(ticker: &str, rows: &[String], more: &str) -> String {
    format!(
        "{{\"ticker\":\"{ticker}\",\"adjusted\":false,{more}\"results\":[{}],\"status\":\"OK\"}}",
        rows.join(",")
    )
}

/// A clock that the test sets.
#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.parse().unwrap())))
    }

    fn set(&self, text: &str) {
        *self.0.lock().unwrap() = text.parse().unwrap();
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn with_clock(url: &str, hands: &Hands) -> Polygon {
    Polygon::new(PolygonConfig { clock: Arc::new(hands.clone()), ..provider::config(url) }).unwrap()
}

const T0: i64 = 1_577_941_200_000; // 2020-01-02 00:00 Eastern
const T1: i64 = 1_578_027_600_000; // 2020-01-03
