//! Writes the generated pages again. Their tests compare and never write.

use std::fs;

use crate::shell::{asked, command, root};

/// Writes `docs/configuration.md` from the table of settings.
///
/// # Errors
///
/// When the binary cannot be built or the page cannot be written.
pub(crate) fn run() -> Result<(), String> {
    let run =
        ["run", "--quiet", "--locked", "--package", "panscan-server", "--bin", "panscan", "--", "reference"];
    let said = asked(&mut command("cargo", &run))?;
    if !said.good || said.out.is_empty() {
        return Err(format!("panscan reference failed: {}", said.err.trim()));
    }
    let page = root().join("docs/configuration.md");
    let before = fs::read_to_string(&page).unwrap_or_default();
    if before == said.out {
        println!("xtask: docs/configuration.md is up to date");
    } else {
        fs::write(&page, said.out).map_err(|fault| format!("{}: {fault}", page.display()))?;
        println!("xtask: docs/configuration.md is written; look at its difference");
    }
    Ok(())
}
