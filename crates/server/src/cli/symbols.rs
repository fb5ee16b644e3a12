//! Symbols as the command line names them: `A,B`, or `@FILE` with one a line.

use std::path::Path;

use panscan_core::symbol::Symbol;

use super::failure::Failure;

/// Most symbols in a request.
const SYMBOLS_MAX: usize = 50_000;

/// Reads `A,B` or `@FILE`, in order, without repeats.
///
/// # Errors
///
/// A file that cannot be read, a text that is no symbol, none at all, too many.
pub fn read(flag: &str, text: &str) -> Result<Vec<String>, Failure> {
    let mut symbols = Vec::new();
    if let Some(path) = text.strip_prefix('@') {
        let path = Path::new(path);
        let content = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, error))?;
        let lines = content.lines().map(str::trim);
        add(flag, &mut symbols, lines.filter(|line| !line.is_empty() && !line.starts_with('#')))?;
    } else {
        add(flag, &mut symbols, text.split(',').map(str::trim).filter(|part| !part.is_empty()))?;
    }
    if symbols.is_empty() {
        return Err(Failure::Usage(format!("{flag}: no symbol in {text:?}; expected A,B or @FILE")));
    }
    Ok(symbols)
}

fn add<'a>(flag: &str, to: &mut Vec<String>, texts: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    for text in texts {
        let symbol = Symbol::new(text).map_err(|error| Failure::Usage(format!("{flag}: {error}")))?;
        if seen.insert(text) {
            to.push(symbol.to_string());
        }
        if to.len() > SYMBOLS_MAX {
            return Err(Failure::Usage(format!(
                "{flag}: more than {SYMBOLS_MAX} symbols; scan all and filter"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn lists_and_files_are_read() {
        assert_eq!(read("--symbols", "AAPL, MSFT,,AAPL").unwrap(), ["AAPL", "MSFT"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "# two\nBRK.B\r\n\n A \n").unwrap();
        assert_eq!(read("--symbols", &format!("@{}", path.display())).unwrap(), ["BRK.B", "A"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read("--symbols", ",").unwrap_err().exit(), Exit::Usage);
        assert_eq!(read("--symbols", "a b").unwrap_err().exit(), Exit::Usage);
        assert_eq!(read("--symbols", "@/no/such").unwrap_err().exit(), Exit::Config);
    }
}
