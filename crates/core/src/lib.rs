//! The domain of panscan: what a bar, a universe, a panel, a plan and a snapshot are, the arithmetic over
//! them, and the ports through which the other crates meet.
//!
//! Deliberately absent: siblings, runtimes, sockets, files and clock reads. Core may *describe* waiting (a
//! boxed future in a port) because that is only `std`; it never waits.

pub mod attribute;
pub mod bar;
pub mod block;
pub mod calendar;
pub mod catalog;
pub mod cover;
pub mod cross;
pub mod diagnostic;
pub mod dividend;
pub mod error;
pub mod expr;
pub mod habit;
pub mod history;
pub mod indicator;
pub mod life;
pub mod limit;
pub mod minutes;
pub mod named;
pub mod panel;
pub mod plan;
pub mod port;
pub mod preset;
pub mod range;
pub mod rank;
pub mod recurrence;
pub mod reference;
pub mod resample;
pub mod scalar;
pub mod scan;
pub mod select;
pub mod series;
pub mod sic;
pub mod slab;
pub mod snapshot;
pub mod split;
pub mod suspicion;
pub mod symbol;
pub mod time;
pub mod universe;

pub use error::{Error, Kind};
