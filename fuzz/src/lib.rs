//! The targets of fuzzing: one function a reader of bytes from outside, each panicking where a promise breaks.
//!
//! Every target also runs over its committed corpus in the ordinary tests. Not here: making inputs ([`mutate`])
//! and knowing which of them are new ([`coverage`]).

#![expect(clippy::panic, clippy::expect_used, reason = "a target says by a panic what a reader got wrong")]

mod asked;
mod bars;
mod calls;
pub mod coverage;
mod facts;
mod kept;
pub mod mutate;
mod tree;
mod words;

/// A reader under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Reads one input.
    pub run: fn(&[u8]),
    /// Words that its inputs are made of.
    pub words: &'static [&'static str],
}

const fn target(name: &'static str, run: fn(&[u8]), words: &'static [&'static str]) -> Target {
    Target { name, run, words }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("aggregates", bars::aggregates, words::AGGREGATE),
    target("alpaca_bars", bars::alpaca_bars, words::ALPACA),
    target("yahoo_chart", bars::yahoo_chart, words::YAHOO),
    target("alpha_vantage_series", bars::alpha_vantage_series, words::ALPHA_VANTAGE),
    target("flatfile", bars::flatfile, words::CSV),
    target("flatfile_gz", bars::flatfile_gz, words::CSV),
    target("tickers", facts::tickers, words::REFERENCE),
    target("actions", facts::actions, words::REFERENCE),
    target("details", facts::details, words::REFERENCE),
    target("hours", facts::hours, words::REFERENCE),
    target("snapshots", facts::snapshots, words::REFERENCE),
    target("http_date", calls::http_date, words::DATES),
    target("next_url", calls::next_url, words::ADDRESSES),
    target("ledger", calls::ledger, words::NONE),
    target("cache_file", kept::cache_file, words::NONE),
    target("cache_codec", kept::cache_codec, words::NONE),
    target("redis_value", kept::redis_value, words::NONE),
    target("notes", kept::notes, words::NOTES),
    target("expression", asked::expression, words::EXPRESSION),
    target("page_token", asked::page_token, words::TOKENS),
];
