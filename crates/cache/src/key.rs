//! Where a block or note lies below the store's folder. Names are safe on file systems that ignore case: `BFp`
//! and `BFP` are two symbols and must be two files.

use std::path::{Path, PathBuf};

use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};

/// A block of one market.
pub(crate) type Name = (MarketId, BlockKey);

/// Version of the folder layout; a build that lays files out differently uses another folder beside it.
pub(crate) const LAYOUT: &str = "v1";
/// Ending of a block file.
pub(crate) const BLOCK_ENDING: &str = ".pan";
/// Ending of a note file.
pub(crate) const NOTE_ENDING: &str = ".note";
/// Ending given to a file that did not read back, after its name.
pub(crate) const DAMAGED_ENDING: &str = ".damaged";
/// How the name of a file begins that is not finished yet.
pub(crate) const UNFINISHED: &str = ".unfinished-";
/// Folder of whole sessions.
pub(crate) const DAYS: &str = "days";
/// Folder of single symbols.
pub(crate) const SYMBOLS: &str = "symbols";
/// Folder of notes.
pub(crate) const NOTES: &str = "notes";

/// The folder of a market.
pub(crate) fn market_folder(root: &Path, market: &MarketId) -> PathBuf {
    // An id without a character would be the folder of all markets; `%` is in no id.
    root.join(if market.as_str().is_empty() { "%" } else { market.as_str() })
}

/// The market of a folder.
pub(crate) fn market_of(folder: &str) -> Option<MarketId> {
    let market = MarketId::new(if folder == "%" { "" } else { folder });
    (folder == "%" || market.as_str() == folder).then_some(market)
}

/// The file of a block.
pub(crate) fn block_path(root: &Path, market: &MarketId, key: &BlockKey) -> PathBuf {
    let folder = market_folder(root, market);
    match key {
        BlockKey::Day(date) => {
            folder.join(Timeframe::Day.to_string()).join(DAYS).join(format!("{date}{BLOCK_ENDING}"))
        }
        BlockKey::Symbol(timeframe, symbol) => folder
            .join(timeframe.to_string())
            .join(SYMBOLS)
            .join(format!("{}{BLOCK_ENDING}", escaped(symbol.as_str(), |b| b.is_ascii_uppercase()))),
    }
}

/// The file of a note.
pub(crate) fn note_path(root: &Path, market: &MarketId, name: &str) -> PathBuf {
    let file = escaped(name, |b| b.is_ascii_lowercase());
    market_folder(root, market).join(NOTES).join(format!("{file}{NOTE_ENDING}"))
}

/// The place of a block below the folder of the layout, with `/` between its parts.
pub(crate) fn block_place(name: &Name) -> String {
    place(&block_path(Path::new(""), &name.0, &name.1))
}

/// A relative path as text, with `/` between its parts.
pub(crate) fn place(path: &Path) -> String {
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The session that a file name in [`DAYS`] stands for.
pub(crate) fn day_of(file: &str) -> Option<SessionDate> {
    file.strip_suffix(BLOCK_ENDING)?.parse().ok()
}

/// The symbol that a file name in [`SYMBOLS`] stands for.
pub(crate) fn symbol_of(file: &str) -> Option<Symbol> {
    let escaped_text = file.strip_suffix(BLOCK_ENDING)?;
    let symbol = Symbol::new(&unescaped(escaped_text)?).ok()?;
    (escaped(symbol.as_str(), |b| b.is_ascii_uppercase()) == escaped_text).then_some(symbol)
}

/// Keeps digits, `-`, inner dots and the letters of one case; every other byte becomes `%` and two hex digits.
/// With one case of letters only, names that differ do so on every file system.
fn escaped(text: &str, letter: fn(u8) -> bool) -> String {
    let mut name = String::with_capacity(text.len());
    for (i, byte) in text.bytes().enumerate() {
        if letter(byte) || byte.is_ascii_digit() || byte == b'-' || (byte == b'.' && i > 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

fn unescaped(name: &str) -> Option<String> {
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (hex, after) = rest.split_at_checked(2)?;
            text.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            text.push(*first);
        }
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(symbol: &str) -> String {
        let key = BlockKey::Symbol(Timeframe::Minutes(5), Symbol::new(symbol).unwrap());
        let path = block_path(Path::new("/s"), &MarketId::new("m"), &key);
        assert_eq!(path.parent().unwrap(), Path::new("/s/m/5m/symbols"));
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn names_read_back_and_never_collide_where_case_is_ignored() {
        let symbols =
            ["BFp", "BFP", "bfp", "BRK.B", "BRK/B", "BRK-B", ".A", "ABC^A", "A=F", "X:Y", "*", "$#_+", "BF%"];
        let mut seen = std::collections::HashSet::new();
        for text in symbols.iter().filter(|s| Symbol::new(s).is_ok()) {
            let file = file_of(text);
            assert_eq!(symbol_of(&file).unwrap().as_str(), *text);
            assert!(!file.starts_with('.') && !file.contains(['/', ':', '*']), "{file}");
            assert!(seen.insert(file.to_lowercase()), "{text}");
        }
        assert_eq!(file_of("BRK.B"), "BRK.B.pan");
        assert_eq!(file_of("BFp"), "BF%70.pan");
        assert!(symbol_of("bfp.pan").is_none(), "not a name that is written");
        assert!(symbol_of("A%2.pan").is_none() && symbol_of("A").is_none());
    }

    #[test]
    fn days_notes_and_markets_have_their_places() {
        let market = MarketId::new("polygon");
        let day = BlockKey::Day("2025-12-31".parse().unwrap());
        let root = Path::new("/s/v1");
        assert_eq!(block_path(root, &market, &day), Path::new("/s/v1/polygon/1d/days/2025-12-31.pan"));
        let name = (market.clone(), day.clone());
        assert_eq!(block_place(&name), "polygon/1d/days/2025-12-31.pan");
        assert_eq!(day_of("2025-12-31.pan").unwrap().to_string(), "2025-12-31");
        assert_eq!(note_path(root, &market, "../x"), Path::new("/s/v1/polygon/notes/%2E.%2Fx.note"));
        assert_eq!(market_folder(root, &MarketId::new("..")), Path::new("/s/v1/%"));
        assert_eq!(market_of("%").unwrap().as_str(), "");
        assert!(market_of("a b").is_none());
    }
}
