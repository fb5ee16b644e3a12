//! Installs other people's libraries and measures the product beside them. Downloads packages, so no other job does it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{command, root, step};

/// Where they are installed: `PANSCAN_PEERS`, else a folder of the user's cache.
#[expect(clippy::disallowed_methods, reason = "a job has no settings but those of its environment")]
fn folder() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(|home| Path::new(&home).join(".cache/panscan-peers"));
    let found = set("PANSCAN_PEERS").map(PathBuf::from).or_else(home);
    found.ok_or_else(|| "set PANSCAN_PEERS to the folder to install into".to_owned())
}

/// Installs the Python packages and the binary of crates, builds the product, and runs the suite with the `options`
/// that `panscan bench scan` knows.
///
/// # Errors
///
/// When something cannot be installed or built, or the suite fails.
pub(crate) fn peers(options: &[&str]) -> Result<(), String> {
    let folder = folder()?;
    let fault = |path: &Path| {
        let path = path.display().to_string();
        move |fault: std::io::Error| format!("{path}: {fault}")
    };
    fs::create_dir_all(&folder).map_err(fault(&folder))?;
    let python = folder.join("venv/bin/python");
    let list = root().join("peers/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(fault(&list))?;
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        step("Python of the peers", command("python3", &["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
        let quiet = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r"];
        step("packages of the peers", command(&python, &quiet).arg(&list))?;
        fs::write(&stamp, wanted).map_err(fault(&stamp))?;
    }
    let script = folder.join("peers.py");
    fs::copy(root().join("peers/peers.py"), &script).map_err(fault(&script))?;
    let target = folder.join("target");
    // They get the instructions of this machine: the product chooses its own at run time.
    let build = ["build", "--release", "--locked", "--manifest-path", "peers/Cargo.toml"];
    step(
        "crates of the peers",
        command("cargo", &build).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-C target-cpu=native"),
    )?;
    let binary = folder.join("panscan-peers");
    fs::copy(target.join("release/panscan-peers"), &binary).map_err(fault(&binary))?;
    step("product", &mut command("cargo", &["build", "--release", "-p", "panscan-server"]))?;
    let mut suite = command(root().join("target/release/panscan"), &["bench", "scan"]);
    step("measurement", suite.args(options).env("PANSCAN_PEERS", &folder))
}
