//! What a misspelt name was probably meant to be.

/// Edits at most between a name and what is suggested for it.
const DISTANCE_MAX: usize = 2;

/// The nearest of the candidates within two edits; the first of equals.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A name is never edited away altogether.
    let limit = DISTANCE_MAX.min(name.chars().count().saturating_sub(1).max(1));
    let near = |c: &'c str| {
        let edits = (c != name && c.len().abs_diff(name.len()) <= limit).then(|| distance(name, c))?;
        (edits <= limit).then_some((edits, c))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(edits, _)| *edits).map(|(_, c)| c)
}

/// Insertions, deletions and replacements between two texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_two_edits_away() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("smaa", ["ema", "sma"]), Some("sma"));
        assert_eq!(nearest("clos", ["open", "close"]), Some("close"));
        assert_eq!(nearest("m", ["x", "n"]), Some("x"));
        assert_eq!(nearest("m", ["ad", "rsi"]), None);
        assert_eq!(nearest("zzzzzz", ["sma"]), None);
    }
}
