//! The reference page of the settings, written from the table.

use std::fmt::Write as _;

use super::names::{Effect, Fallback, GROUPS};

/// The page as it stands in `docs/configuration.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Written by `panscan reference`; do not edit by hand.\n\n\
         A value is taken from the flag, else the environment, else the file that `--config` or `PANSCAN_CONFIG` names \
         (TOML, one `key = value` a line), else the default. A value that cannot be read and a name that starts with \
         `PANSCAN_` and is not listed here end the start with exit code 9; all problems are listed at once. An empty \
         value counts as not set, except for `PANSCAN_REDIS_URL`. Any name with `_FILE` added names a file that holds \
         the value. `panscan check` names what is set and \
         where, and `Admin.GetConfig` shows every value in force, secrets as `***`.\n\n\
         Durations are written `20ms`, `30s`, `15min`, `1h`, `7d`; bytes `64KiB`, `1GiB` or a plain number; rates \
         `5/min`, `100/s`.\n",
    );
    for (group, entries) in GROUPS {
        let _ =
            write!(page, "\n## {group}\n\n| name | file key | default | unit | meaning | in this build |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for entry in *entries {
            let fallback = match entry.fallback {
                Fallback::Value(text) => format!("`{text}`"),
                Fallback::Absent(words) => words.to_owned(),
            };
            let effect = match entry.effect {
                Effect::Active => "active",
                Effect::Idle => "checked, no effect yet",
                Effect::Tests => "tests and measurements only",
                Effect::Refused(_) => "refused",
            };
            let _ = writeln!(
                page,
                "| `{}` | `{}` | {fallback} | {} | {} | {effect} |",
                entry.name, entry.key, entry.unit, entry.meaning
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page(),
            "docs/configuration.md is not what the table says; run: \
             cargo run -- reference > docs/configuration.md"
        );
    }
}
