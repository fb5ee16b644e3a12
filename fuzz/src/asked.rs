//! What callers send: expressions and page tokens.

use panscan_core::plan::Digest;
use panscan_core::scan::ScanSpec;
use panscan_core::time::Timestamp;
use panscan_proto::token::{self, Page};

/// Planning ends, and says where it is wrong within the text.
pub(crate) fn expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let spec = ScanSpec { filter: text.to_owned(), columns: vec![text.to_owned()], ..ScanSpec::default() };
    match panscan_core::expr::plan(&spec) {
        Ok(plan) => {
            assert!(
                plan.nodes.iter().enumerate().all(|(at, node)| node.inputs.iter().all(|x| x.index() < at))
            );
        }
        Err(error) => {
            assert!(error.errors.iter().all(|error| error.start <= error.end && error.end <= text.len()));
        }
    }
}

/// A token comes back as the page that it was made of, and a changed one as nothing else.
pub(crate) fn page_token(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let digest = Digest::of(&text);
    let _ = (token::read("Scan", digest, &text), token::skip("Scan", digest, &text));
    let number = input.iter().fold(0_u64, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte));
    let snapshot: String = text.chars().filter(char::is_ascii_alphanumeric).take(200).collect();
    let until = (number % 3 > 0).then(|| Timestamp::from_nanos(number as i64));
    let page = Page { snapshot, skip: number as usize, until };
    let good = token::write("Scan", digest, &page);
    assert_eq!(token::read("Scan", digest, &good).as_ref(), Ok(&page));
    assert!(token::read("List", digest, &good).is_err() && token::read("Scan", Digest(7), &good).is_err());
    let mut bad = good.clone().into_bytes();
    let place = (number >> 8) as usize % bad.len();
    bad[place] = (bad[place] ^ (number as u8).max(1)) & 0x7f;
    if let Ok(bad) = String::from_utf8(bad)
        && let Ok(read) = token::read("Scan", digest, &bad)
    {
        assert_eq!(read, page);
    }
}
