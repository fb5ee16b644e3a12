//! The Python environment of the client's tests: a virtual environment with pinned packages and the stubs that
//! are generated from `proto/`, both below `target/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{answers, command, root, step};

/// Makes the environment where it is missing or out of date, and names its interpreter.
///
/// # Errors
///
/// When there is no Python that can make one, or a package cannot be installed.
pub(crate) fn environment() -> Result<PathBuf, String> {
    let folder = root().join("target/python-venv");
    let python = folder.join("bin/python");
    let list = root().join("python/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|fault| format!("{}: {fault}", list.display()))?;
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) && answers(&python, &["--version"]) {
        return Ok(python);
    }
    let make = ["-m", "venv", "--clear", "target/python-venv"];
    if step("Python environment", &mut command("python3", &make)).is_err() {
        system_python()?;
        step("Python environment", &mut command("python3", &make))?;
    }
    let install =
        ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r", "python/requirements.txt"];
    step("Python packages", &mut command(&python, &install))?;
    fs::write(&stamp, wanted).map_err(|fault| format!("{}: {fault}", stamp.display()))?;
    Ok(python)
}

/// Debian leaves the module `venv` out of its Python; where packages may be installed, it is.
fn system_python() -> Result<(), String> {
    const NEED: &str =
        "Python 3.11 or newer with the module venv is needed (Debian: apt-get install python3-venv)";
    if !answers("apt-get", &["--version"]) {
        return Err(NEED.to_owned());
    }
    let quiet = ["install", "-y", "-q", "--no-install-recommends", "python3", "python3-venv"];
    let install = || {
        step(
            "python3-venv of the system",
            command("apt-get", &quiet).env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    if install().is_err() {
        step("package lists of the system", &mut command("apt-get", &["update", "-q"]))
            .and_then(|()| install())
            .map_err(|fault| format!("{NEED}; {fault}"))?;
    }
    Ok(())
}

/// Generates the stubs from `proto/` and names the folder to import them from.
///
/// # Errors
///
/// When the generator fails.
pub(crate) fn stubs(python: &Path) -> Result<PathBuf, String> {
    let folder = root().join("target/python-stubs");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    let protos = root().join("proto/panscan/v1");
    let names = fs::read_dir(&protos).map_err(|fault| format!("{}: {fault}", protos.display()))?;
    // the compiler wants them below the folder that it was given, spelled alike
    let mut files: Vec<String> = names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".proto"))
        .map(|name| format!("proto/panscan/v1/{name}"))
        .collect();
    files.sort();
    let generate = [
        "-m",
        "grpc_tools.protoc",
        "-Iproto",
        "--python_out=target/python-stubs",
        "--grpc_python_out=target/python-stubs",
    ];
    step("Python stubs", command(python, &generate).args(files))?;
    Ok(folder)
}
