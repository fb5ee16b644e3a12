//! `panscan reference`: the reference page of the settings.

use std::io::{self, Write as _};

use super::exit::Exit;
use super::failure::Failure;
use crate::config::reference;

/// Writes the page to stdout.
pub fn run() -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(reference::page().as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Exit::Done)
}
