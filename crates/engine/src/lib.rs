//! The flow of a scan over the ports of `panscan-core`: plan, pin a snapshot, complete what is missing, compute,
//! and hand over ranked rows with everything a caller must know about them.
//!
//! Deliberately absent: gRPC, HTTP, Redis and CUDA. The engine knows ports only, so a stage can be called from
//! the command line, from a bench and from a test.

mod admit;
mod adopt;
mod bars;
mod config;
mod corporate;
mod details;
mod diagnose;
#[doc(hidden)]
pub mod doors;
mod error;
mod fill;
mod flight;
mod forget;
mod history;
mod indicators;
mod intraday;
mod landing;
mod lives;
mod market;
mod memo;
mod minute_files;
mod missing;
mod named;
mod notes;
mod ordered;
mod origins;
mod plans;
mod prefetch;
mod promise;
mod refresh;
mod requeue;
mod resident;
mod run;
mod series;
mod settle;
mod statistics;
mod stream;
mod unlisted;
mod unserved;
mod warm;
mod wide;

pub use admit::Admission;
pub use bars::{BarsAnswer, BarsRequest, SymbolBars};
pub use config::EngineConfig;
pub use error::EngineError;
pub use forget::{Forget, Forgettable, Forgotten};
pub use history::{HistoryEnd, HistoryEvent, HistoryHead, HistoryRequest, HistorySession, HistoryStream};
pub use indicators::{
    GivenBars, IndicatorValues, IndicatorsEvent, IndicatorsHead, IndicatorsRequest, IndicatorsStream,
};
pub use market::{Engine, EngineStats, Parts};
pub use notes::{REFERENCE_NOTES, SPLITS as SPLITS_NOTE, splits_from_bytes as splits_from_note};
pub use prefetch::PrefetchStats;
pub use refresh::Refreshed;
pub use resident::Published;
pub use run::{Cost, Pin, ScanAnswer, ScanRequest, Timing};
pub use series::{SeriesAnswer, SeriesRequest, SymbolSeries};
pub use statistics::{ExprStatistics, Group, StatisticsAnswer, StatisticsRequest};
pub use stream::{SeriesEnd, SeriesEvent, SeriesHead, SeriesStream};
pub use warm::{WarmRequest, WarmStream, Warmed};
