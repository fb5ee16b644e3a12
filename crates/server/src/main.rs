//! The binary `panscan`: one exit code for whatever the command line asks.

#![allow(
    unreachable_pub,
    reason = "nothing of a binary is reachable from outside; pub marks what other modules use"
)]

mod app;
mod bench;
mod cli;
mod clock;
mod config;
mod host;
mod record;
mod rpc;

use std::process::ExitCode;

/// Messages are made on one thread and dropped on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for the whole process; an error means that there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    cli::main()
}
