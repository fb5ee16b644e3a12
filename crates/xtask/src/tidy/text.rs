//! Rules about files as text: how they open and end, which words and names they avoid, and how long they get.

use super::Source;

/// Lines of a Rust file; beyond it a second noun is hiding in it.
const LINES_MAX: usize = 700;
/// Bytes of any file; the lockfile and licences are what they are.
const BYTES_MAX: usize = 256 * 1024;
/// File names that say nothing about what is inside.
const NAMES: [&str; 9] =
    ["manager", "managers", "utils", "util", "helpers", "helper", "common", "misc", "shared_utils"];

/// Words that must not stand anywhere, taken apart here so that this file does not hold them.
fn words() -> Vec<(String, &'static str)> {
    let joined = |parts: &[&str]| parts.concat();
    vec![
        (joined(&["TO", "DO"]), "finish it or open an issue"),
        (joined(&["FIX", "ME"]), "finish it or open an issue"),
        (joined(&["X", "XX"]), "finish it or open an issue"),
        (joined(&["/wo", "rk/"]), "a path of one machine"),
        (joined(&["/ho", "me/"]), "a path of one machine"),
        (joined(&["/ro", "ot/"]), "a path of one machine"),
        (joined(&["index.cra", "tes.io"]), "a registry is configured outside the project"),
        (joined(&["static.cra", "tes.io"]), "a registry is configured outside the project"),
        (joined(&["py", "pi.org"]), "a registry is configured outside the project"),
        (joined(&["python", "hosted.org"]), "a registry is configured outside the project"),
        (joined(&["registry.", "npmjs"]), "a registry is configured outside the project"),
        (joined(&["arti", "factory"]), "a registry is configured outside the project"),
    ]
}

/// What these rules find.
pub(crate) fn findings(sources: &[Source]) -> Vec<String> {
    let words = words();
    let mut found = Vec::new();
    for source in sources {
        let path = &source.path;
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.split('.').next().unwrap_or(name);
        if NAMES.contains(&stem) {
            found.push(format!("{path}: the name says nothing; name the noun inside"));
        }
        // Locks and grown inputs are what they are, to the byte.
        if name == "Cargo.lock" || path.starts_with("fuzz/corpus/") {
            continue;
        }
        if source.bytes.len() > BYTES_MAX {
            found.push(format!("{path}: {} bytes; at most {BYTES_MAX}", source.bytes.len()));
        }
        let Some(text) = source.text() else { continue };
        for (number, line) in text.lines().enumerate() {
            let at = format!("{path}:{}", number + 1);
            if line.ends_with([' ', '\t']) {
                found.push(format!("{at}: white space at the end"));
            }
            for (word, why) in &words {
                if stands_in(line, word) {
                    found.push(format!("{at}: {word}: {why}"));
                }
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            found.push(format!("{path}: no newline at the end"));
        }
        if source.extension() == "rs" {
            if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!(") {
                found.push(format!(
                    "{path}: begins without `//!`: what lives here, what deliberately does not"
                ));
            }
            if text.lines().count() > LINES_MAX {
                found.push(format!("{path}: {} lines; at most {LINES_MAX}", text.lines().count()));
            }
        }
        if source.extension() == "md" {
            found.extend(dead_links(path, text, sources));
        }
    }
    found
}

/// Whether the word stands there alone; inside a longer run of letters it is another word.
fn stands_in(line: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let bounded = word.chars().all(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !bounded || (!letter(before) && !letter(after))
    })
}

/// Links of a Markdown file to files that are not there.
fn dead_links(path: &str, text: &str, sources: &[Source]) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or("").split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
                if part == ".." {
                    parts.pop();
                } else {
                    parts.push(part);
                }
            }
            let wanted = parts.join("/");
            let under = format!("{wanted}/");
            if !sources.iter().any(|source| source.path == wanted || source.path.starts_with(&under)) {
                found.push(format!("{path}:{}: the link to {target} leads nowhere", number + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        findings(&[Source { path: path.to_owned(), bytes: text.as_bytes().to_vec() }])
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(of("crates/a/src/symbol.rs", "//! Symbols.\n\nfn a() {}\n"), Vec::<String>::new());
        assert_eq!(of("notes.bin", "\0 "), Vec::<String>::new());
    }

    #[test]
    fn each_rule_can_fail() {
        let word = ["TO", "DO"].concat();
        let path = ["/wo", "rk/main"].concat();
        let host = ["py", "pi.org"].concat();
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        let big = format!("//! Big.\n// {}\n", "x".repeat(BYTES_MAX));
        for (name, text, expected) in [
            ("a.rs", "fn a() {}\n", "without `//!`"),
            ("a.rs", "//! A. \n", "white space"),
            ("a.rs", "//! A.", "no newline"),
            ("a.rs", long.as_str(), "lines; at most"),
            ("a.rs", big.as_str(), "bytes; at most"),
            ("a.py", &format!("# {word}: later\n"), "finish it"),
            ("a.toml", &format!("root = \"{path}\"\n"), "a path of one machine"),
            ("a.sh", &format!("curl https://{host}/simple\n"), "configured outside"),
            ("src/utils.rs", "//! Things.\n", "says nothing"),
            ("doc/a.md", "see [b](../b.md)\n", "leads nowhere"),
        ] {
            let found = of(name, text);
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_word_inside_a_word_is_another_word() {
        assert!(
            of("a.py", &format!("# MAS{}NS and _{}_\n", ["TO", "DO"].concat(), ["FIX", "ME"].concat()))
                .is_empty()
        );
    }

    #[test]
    fn links_are_followed() {
        let file = |path: &str, text: &str| Source { path: path.to_owned(), bytes: text.into() };
        let sources = [
            file("doc/a.md", "[b](../b.md#top), [c](./sub/), [d](https://x)\n"),
            file("b.md", "b\n"),
            file("doc/sub/c", ""),
        ];
        assert_eq!(findings(&sources), Vec::<String>::new());
    }
}
