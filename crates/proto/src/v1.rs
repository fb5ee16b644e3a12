//! Generated from proto/panscan/v1; nothing here is written by hand.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated code; its documentation is that of the contract"
)]

include!(concat!(env!("OUT_DIR"), "/panscan.v1.rs"));
