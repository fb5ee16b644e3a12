//! The `panscan.v1` contract: generated messages, clients and servers, and the one place where wire and domain
//! are translated into each other.
//!
//! Deliberately absent: a runtime, any I/O, and any rule of the domain that core could hold.

pub mod codec;
pub mod convert;
pub mod error;
pub mod kind;
pub mod token;
pub mod v1;

pub use error::{Error, Violation, Violations};
pub use prost_types;

/// The descriptors of `panscan.v1` and of what it imports, encoded, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/panscan.v1.bin"));
