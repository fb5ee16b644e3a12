#![doc = include_str!("../README.md")]
//! ## Where things are
//!
//! [`Client`] opens calls; [`Scan`], [`HistoryQuery`], [`BarsQuery`], [`BatchBarsQuery`], [`IndicatorsQuery`] and [`SymbolsQuery`] describe them;
//! [`ScanStream`] and [`Row`] are what comes back; [`ClientError`] is what may come instead. Not here: anything
//! of the server, and Arrow.

mod bars;
mod call;
mod connect;
mod error;
mod history;
mod indicators;
mod retry;
mod row;
mod saved;
mod scan;
mod statistics;
mod stream;
mod symbols;

pub use bars::{BarsQuery, BarsStream, BatchBarsQuery};
pub use connect::{Client, Compression, Connect, DEFAULT_TIMEOUT};
pub use error::{ClientError, Report};
pub use history::{HistoryQuery, HistoryStream};
pub use indicators::{IndicatorsQuery, IndicatorsStream};
pub use retry::Retry;
pub use row::{Row, ScanResult};
pub use scan::Scan;
pub use statistics::{GroupStatistic, GroupStatistics, Statistics, StatisticsQuery};
pub use stream::ScanStream;
pub use symbols::SymbolsQuery;

pub use panscan_core::Kind;
pub use panscan_core::diagnostic::Severity;
pub use panscan_core::plan::ValueKind;
pub use panscan_core::scan::{
    Adjustment, Backend, BarSelection, DataPolicy, Order, Precision, ScanSpec, UniverseSelector,
};
pub use panscan_core::time::{SessionDate, Timeframe, Timestamp};
pub use panscan_core::universe::{Listing, TextAttribute};
pub use panscan_proto::Violation;
pub use panscan_proto::convert::answer::{Column, Cost, Diagnostic, Header, NodeTiming, Summary};
pub use panscan_proto::convert::bars::{BarRange, Bars, BarsSummary};
pub use panscan_proto::convert::batch::{Batch, Cell, Values};
pub use panscan_proto::convert::expression::ExpressionFault;
pub use panscan_proto::convert::frame::{BarsHeader, BarsPage, SymbolsPage};
pub use panscan_proto::convert::history::{SessionBatch, SessionCounts};
pub use panscan_proto::convert::request::{Format, ScanRequest};
pub use panscan_proto::convert::saved::NamedScan;
pub use panscan_proto::convert::series::{GivenBars, IndicatorPart};
pub use panscan_proto::convert::stats::Stats;
