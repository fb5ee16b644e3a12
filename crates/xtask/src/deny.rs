//! What the tree of dependencies may hold: licences, sources and versions by cargo-deny and `deny.toml`; crates
//! that must be absent and the size of the client's tree by `cargo tree`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{answers, asked, command, root, step, watched};

/// Installed below `target/` where the machine has none.
const CARGO_DENY: &str = "0.20.2";
/// A second TLS provider panics at first use; OpenSSL needs a system library; `backoff` is unmaintained.
const ABSENT: [&str; 4] = ["aws-lc-rs", "openssl-sys", "native-tls", "backoff"];
/// Packages that a program takes on with the client crate, itself included.
const CLIENT_MAX: usize = 95;

/// Runs every gate and names all that failed.
///
/// # Errors
///
/// The gates that failed.
pub(crate) fn run() -> Result<(), String> {
    let mut faults: Vec<String> = Vec::new();
    let mut keep = |outcome: Result<(), String>| faults.extend(outcome.err());
    for name in ABSENT {
        keep(is_absent(name));
    }
    keep(client());
    match tool() {
        Ok(program) => {
            keep(step("licences, bans and sources", deny(&program).args(["licenses", "bans", "sources"])));
            keep(advisories(&program));
        }
        Err(fault) => keep(Err(fault)),
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

fn is_absent(name: &str) -> Result<(), String> {
    let tree = ["tree", "--workspace", "--locked", "--target", "all", "--edges", "all", "--invert", name];
    let said = asked(&mut command("cargo", &tree))?;
    if said.good && !said.out.trim().is_empty() {
        return Err(format!("{name} must not be in the tree:\n{}", said.out.trim_end()));
    }
    if !said.good && !said.err.contains("did not match any packages") {
        return Err(format!("cargo tree failed: {}", said.err.trim()));
    }
    println!("xtask: {name} is absent");
    Ok(())
}

fn client() -> Result<(), String> {
    let tree = ["tree", "--package", "panscan-client", "--locked", "--edges", "normal", "--prefix", "none"];
    let said = asked(&mut command("cargo", &tree))?;
    if !said.good {
        return Err(format!("cargo tree failed: {}", said.err.trim()));
    }
    let packages = packages(&said.out);
    println!("xtask: the client's tree has {packages} packages, {CLIENT_MAX} allowed");
    if packages > CLIENT_MAX {
        Err(format!("the client's tree has more than {CLIENT_MAX} packages"))
    } else {
        Ok(())
    }
}

/// Different `name version` pairs of a flat tree.
fn packages(tree: &str) -> usize {
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    tree.lines().filter_map(pair).collect::<BTreeSet<_>>().len()
}

/// The program itself: the machine's, or one installed below `target/`.
fn tool() -> Result<PathBuf, String> {
    if answers("cargo-deny", &["--version"]) {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let own = root().join("target/tools/bin/cargo-deny");
    if !answers(&own, &["--version"]) {
        let install = [
            "install",
            "--locked",
            "--quiet",
            "--root",
            "target/tools",
            "--version",
            CARGO_DENY,
            "cargo-deny",
        ];
        step("cargo-deny (once; takes minutes)", &mut command("cargo", &install))?;
    }
    Ok(own)
}

fn deny(program: &PathBuf) -> Command {
    command(program, &["--locked", "check", "--hide-inclusion-graph"])
}

/// The list of advisories comes from the network; a machine that cannot get it is told so and goes on.
fn advisories(program: &PathBuf) -> Result<(), String> {
    println!("xtask: advisories");
    let said = watched(deny(program).arg("advisories"))?;
    if said.good {
        return Ok(());
    }
    if is_out_of_reach(&said.err) {
        println!("xtask: the list of advisories cannot be downloaded here; advisories were NOT checked");
        return Ok(());
    }
    Err("advisories: see above".to_owned())
}

fn is_out_of_reach(said: &str) -> bool {
    let found = said.contains("advisories FAILED") || said.contains("error[");
    !found && (said.contains("advisory database") || said.contains("advisory-db"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_once() {
        assert_eq!(packages("a v1.0 (/x)\nb v2.0\nb v2.0 (*)\nb v3.0\n\n"), 3);
    }

    #[test]
    fn a_finding_is_never_taken_for_a_missing_list() {
        assert!(is_out_of_reach("failed to fetch advisory database https://host/advisory-db"));
        assert!(!is_out_of_reach("error[vulnerability]: see advisory database\nadvisories FAILED"));
        assert!(!is_out_of_reach("no such file"));
    }
}
