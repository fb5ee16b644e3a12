//! The shape of CHANGELOG.md: what is to come on top, then releases with their dates, in known kinds of change.

use super::Source;

const PATH: &str = "CHANGELOG.md";
const KINDS: [&str; 8] =
    ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Performance", "Upgrade notes"];

/// What this rule finds.
pub(crate) fn findings(sources: &[Source]) -> Vec<String> {
    match sources.iter().find(|source| source.path == PATH).and_then(Source::text) {
        Some(text) => faults(text),
        None => vec![format!("{PATH}: not there")],
    }
}

fn faults(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.first() != Some(&"# Changelog") {
        found.push(format!("{PATH}:1: must be `# Changelog`"));
    }
    let mut releases = 0;
    for (at, line) in lines.iter().enumerate() {
        let place = format!("{PATH}:{}", at + 1);
        if let Some(release) = line.strip_prefix("## ") {
            releases += 1;
            if releases == 1 && release != "[Unreleased]" {
                found.push(format!("{place}: the first section must be `## [Unreleased]`"));
            }
            if releases > 1 && !is_release(release) {
                found.push(format!("{place}: a release reads `## [1.2.3] - 2026-01-31`"));
            }
        } else if let Some(kind) = line.strip_prefix("### ") {
            if !KINDS.contains(&kind) {
                found.push(format!("{place}: {kind:?} is none of {}", KINDS.join(", ")));
            }
            let body = lines[at + 1..].iter().take_while(|line| !line.starts_with('#'));
            if !body.into_iter().any(|line| line.starts_with("- ")) {
                found.push(format!("{place}: nothing stands under {kind:?}"));
            }
        }
    }
    if releases == 0 {
        found.push(format!("{PATH}: has no section `## [Unreleased]`"));
    }
    found
}

/// `[1.2.3] - 2026-01-31`
fn is_release(text: &str) -> bool {
    let Some((version, date)) = text.strip_prefix('[').and_then(|rest| rest.split_once("] - ")) else {
        return false;
    };
    let numbers =
        |text: &str, by: char| text.split(by).map(|part| part.parse::<u32>().is_ok()).collect::<Vec<_>>();
    numbers(version, '.') == [true; 3] && numbers(date, '-') == [true; 3] && date.len() == 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_known() {
        let good = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- a\n\n## [0.1.0] - 2026-01-31\n\n### Fixed\n\n- b\n";
        assert_eq!(faults(good), Vec::<String>::new());
        for (text, expected) in [
            ("# Changes\n\n## [Unreleased]\n", "must be `# Changelog`"),
            ("# Changelog\n\n## [0.1.0] - 2026-01-31\n", "first section"),
            ("# Changelog\n\n## [Unreleased]\n\n## 0.1\n", "a release reads"),
            ("# Changelog\n\n## [Unreleased]\n\n### Improved\n\n- a\n", "is none of"),
            ("# Changelog\n\n## [Unreleased]\n\n### Added\n\n### Fixed\n\n- a\n", "nothing stands"),
            ("# Changelog\n", "no section"),
        ] {
            assert!(
                faults(text).iter().any(|fault| fault.contains(expected)),
                "{expected}: {:?}",
                faults(text)
            );
        }
        assert!(findings(&[])[0].contains("not there"));
    }
}
