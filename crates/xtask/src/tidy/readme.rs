//! Programs in README.md are excerpts of example files that are compiled: a call that is shown is a call that exists.

use super::Source;

const PATH: &str = "README.md";

/// What this rule finds.
pub(crate) fn findings(sources: &[Source]) -> Vec<String> {
    let Some(text) = sources.iter().find(|source| source.path == PATH).and_then(Source::text) else {
        return vec![format!("{PATH}: not there")];
    };
    let examples: Vec<String> = sources
        .iter()
        .filter(|source| source.path.contains("/examples/") && source.extension() == "rs")
        .filter_map(|source| source.text().map(flat))
        .collect();
    let blocks = text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .filter(|block| !examples.iter().any(|example| example.contains(&flat(block))))
        .map(|block| {
            let first = block.lines().next().unwrap_or("");
            format!("{PATH}: the program that begins with `{first}` is no excerpt of an example file")
        })
        .collect()
}

/// Lines without their indentation.
fn flat(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_nobody_compiles_is_found() {
        let file = |path: &str, text: &str| Source { path: path.to_owned(), bytes: text.into() };
        let example = file("crates/client/examples/a.rs", "fn main() {\n    let a = 1;\n\n    show(a);\n}\n");
        let readme = |body: &str| file(PATH, &format!("# a\n\n```rust\n{body}```\n\n```sh\nls\n```\n"));
        assert_eq!(findings(&[readme("let a = 1;\nshow(a);\n"), example]), Vec::<String>::new());
        let example = file("crates/client/examples/a.rs", "fn main() {}\n");
        assert_eq!(findings(&[readme("let a = 2;\n"), example]).len(), 1);
        assert!(findings(&[])[0].contains("not there"));
    }
}
