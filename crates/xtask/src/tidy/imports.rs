//! Who may see whom: the dependencies that each crate's manifest may name, and the words that a folder's code may
//! not use. A dependency that is not in the manifest cannot be imported; the words cover folders inside a crate.

use super::Source;

/// A crate, the crates of this workspace that it may depend on (tests aside), and what it must never depend on.
struct Rule {
    crate_name: &'static str,
    siblings: &'static [&'static str],
    refused: &'static [&'static str],
}

const RULES: [Rule; 12] = [
    Rule {
        crate_name: "core",
        siblings: &[],
        refused: &["tokio", "tonic", "redis", "reqwest", "cudarc", "futures"],
    },
    Rule { crate_name: "proto", siblings: &["core"], refused: &["tokio", "reqwest", "redis"] },
    Rule { crate_name: "fetch", siblings: &["core"], refused: &["tonic", "prost", "redis", "memmap2"] },
    Rule { crate_name: "cache", siblings: &["core"], refused: &["tonic", "prost", "reqwest"] },
    Rule { crate_name: "universe", siblings: &["core"], refused: &["tonic", "prost", "reqwest", "redis"] },
    Rule {
        crate_name: "cpu",
        siblings: &["core"],
        refused: &["tokio", "tonic", "reqwest", "redis", "memmap2"],
    },
    Rule {
        crate_name: "engine",
        siblings: &["core"],
        refused: &["tonic", "prost", "redis", "reqwest", "cudarc", "memmap2"],
    },
    Rule {
        crate_name: "client",
        siblings: &["core", "proto"],
        refused: &["reqwest", "redis", "arrow-array"],
    },
    Rule { crate_name: "sim", siblings: &["core"], refused: &["tonic", "prost", "reqwest"] },
    Rule {
        crate_name: "server",
        siblings: &["core", "proto", "fetch", "cache", "universe", "cpu", "engine", "client", "sim"],
        refused: &["reqwest", "redis", "memmap2", "rayon"],
    },
    Rule { crate_name: "testkit", siblings: &["core", "proto", "sim"], refused: &["reqwest", "redis"] },
    Rule { crate_name: "xtask", siblings: &[], refused: &[] },
];

/// Folders (or files), the words that their code may not use, and where the words may stand after all.
const FOLDERS: [(&str, &[&str], &[&str]); 6] = [
    ("crates/core/src/", &["tokio", "SystemTime", "Instant", "async", "await", "File", "TcpStream"], &[]),
    ("crates/engine/src/", &["tonic", "prost", "redis", "reqwest", "cudarc"], &[]),
    (
        "crates/server/src/rpc/",
        &["redis", "reqwest", "cudarc", "panscan_fetch", "panscan_cache", "panscan_cpu"],
        &[],
    ),
    ("crates/cpu/src/", &["tokio", "File", "TcpStream"], &[]),
    ("crates/", &["unsafe"], &["crates/cpu/src/simd.rs", "crates/cpu/src/simd/", "crates/cache/src/map.rs"]),
    ("crates/proto/src/", &["tokio", "reqwest", "TcpStream", "File"], &[]),
];

/// What these rules find.
pub(crate) fn findings(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        if let Some(name) =
            source.path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        {
            match RULES.iter().find(|rule| rule.crate_name == name) {
                Some(rule) => found.extend(manifest(rule, source)),
                None => {
                    found.push(format!("{}: the crate has no import rule; add one to xtask", source.path))
                }
            }
        }
    }
    for rule in &RULES {
        let path = format!("crates/{}/Cargo.toml", rule.crate_name);
        if !sources.iter().any(|source| source.path == path) {
            found.push(format!("{path}: not there; the rule for it checks nothing"));
        }
    }
    for (folder, banned, free) in FOLDERS {
        let files: Vec<&Source> = sources
            .iter()
            .filter(|source| source.extension() == "rs" && source.path.starts_with(folder))
            .filter(|source| !source.path.starts_with("crates/xtask/"))
            .collect();
        if files.is_empty() {
            found.push(format!("{folder}: nothing there; the rule for it checks nothing"));
        }
        for file in files.into_iter().filter(|file| !free.iter().any(|path| file.path.starts_with(path))) {
            found.extend(used_words(file, banned));
        }
    }
    found
}

/// Dependencies of a manifest that the rule does not allow.
fn manifest(rule: &Rule, source: &Source) -> Vec<String> {
    let (mut found, mut section, mut lints) = (Vec::new(), String::new(), false);
    let path = &source.path;
    for (number, line) in source.text().unwrap_or("").lines().enumerate() {
        let at = format!("{path}:{}", number + 1);
        let line = line.split('#').next().unwrap_or("").trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            continue;
        }
        if section == "lints" && line == "workspace = true" {
            lints = true;
        }
        let (table, tests) = (section.ends_with("dependencies"), section.ends_with("dev-dependencies"));
        let Some((key, value)) = line.split_once('=').filter(|_| table) else { continue };
        let name = key.trim().split('.').next().unwrap_or("").trim();
        if !line.contains("workspace = true") && !line.contains(".workspace=true") {
            found.push(format!("{at}: {name} = {}: versions stand in the workspace's table", value.trim()));
        }
        if tests {
            continue;
        }
        if let Some(sibling) = name.strip_prefix("panscan-")
            && !rule.siblings.contains(&sibling)
        {
            found.push(format!("{at}: {} must not depend on {name}", rule.crate_name));
        }
        if rule.refused.contains(&name) {
            found.push(format!("{at}: {} must not depend on {name}", rule.crate_name));
        }
    }
    if !lints {
        found.push(format!("{path}: without `lints.workspace = true` the shared lints do not hold"));
    }
    found
}

/// Lines of a file that use one of the words outside comments and text.
fn used_words(file: &Source, banned: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.text().unwrap_or("").lines().enumerate() {
        // a test module ends the part of a file that ships
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or("");
        let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| banned.contains(word)) {
            found.push(format!(
                "{}:{}: `{word}` does not belong here: {}",
                file.path,
                number + 1,
                line.trim()
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        // what stands where nothing is planted is reported as missing; only the planted file is of interest
        let all = findings(&[Source { path: path.to_owned(), bytes: text.as_bytes().to_vec() }]);
        all.into_iter().filter(|line| line.starts_with(path) && !line.contains("checks nothing")).collect()
    }

    const HEAD: &str = "[lints]\nworkspace = true\n\n[dependencies]\n";

    #[test]
    fn manifests_keep_to_their_rule() {
        let path = "crates/fetch/Cargo.toml";
        assert_eq!(of(path, &format!("{HEAD}panscan-core.workspace = true\n")), Vec::<String>::new());
        for (line, expected) in [
            ("panscan-cache.workspace = true", "must not depend on panscan-cache"),
            ("tonic = { workspace = true }", "must not depend on tonic"),
            ("bytes = \"1\"", "versions stand"),
        ] {
            let found = of(path, &format!("{HEAD}{line}\n"));
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
        let tests = format!("{HEAD}\n[dev-dependencies]\npanscan-testkit.workspace = true\n");
        assert_eq!(of(path, &tests), Vec::<String>::new());
        assert!(of(path, "[dependencies]\n")[0].contains("shared lints"));
        assert!(of("crates/new/Cargo.toml", HEAD)[0].contains("no import rule"));
    }

    #[test]
    fn folders_keep_their_words() {
        let path = "crates/engine/src/run.rs";
        assert_eq!(of(path, "use tonic as t;\n").len(), 1);
        assert_eq!(of(path, "// tonic is not used here\nlet a = \"tonic\";\n"), Vec::<String>::new());
        assert_eq!(
            of(path, "fn a() {}\n#[cfg(test)]\nmod tests { use tonic as t; }\n"),
            Vec::<String>::new()
        );
        assert_eq!(of("crates/core/src/a.rs", "let now = Instant::now();\n").len(), 1);
        assert_eq!(of("crates/core/src/a.rs", "fn a() -> u8 { unsafe { b() } }\n").len(), 1);
        assert_eq!(of("crates/cpu/src/simd.rs", "unsafe fn a() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn an_empty_folder_is_no_clean_folder() {
        let found = findings(&[]);
        assert!(
            found
                .iter()
                .any(|line| line.starts_with("crates/engine/src/") && line.contains("checks nothing"))
        );
        assert!(found.iter().any(|line| line.starts_with("crates/core/Cargo.toml")));
    }
}
