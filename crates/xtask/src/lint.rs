//! Formatting, clippy and documentation, with warnings refused.

use crate::shell::{command, step};

/// Runs all three and names every one that failed.
///
/// # Errors
///
/// The steps that failed.
pub(crate) fn run() -> Result<(), String> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    let docs = ["doc", "--workspace", "--no-deps", "--locked"];
    let outcomes = [
        step("formatting", &mut command("cargo", &["fmt", "--all", "--check"])),
        step("clippy", &mut command("cargo", &clippy)),
        step("docs", command("cargo", &docs).env("RUSTDOCFLAGS", "-D warnings")),
    ];
    let failed: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}
