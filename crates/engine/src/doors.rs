//! Ways for fuzzing to readers that this crate keeps to itself: each reads a kept document and writes it again. No part
//! of the interface: they change as the readers do.

use crate::corporate::Paid;
use crate::notes;

/// The kept list of listings, read and written again; `None` where it cannot be read.
#[must_use]
pub fn listings(bytes: &[u8]) -> Option<Vec<u8>> {
    notes::listings_from_bytes(bytes).map(|read| notes::listings_to_bytes(&read))
}

/// The same for splits.
#[must_use]
pub fn splits(bytes: &[u8]) -> Option<Vec<u8>> {
    notes::splits_from_bytes(bytes).map(|read| notes::splits_to_bytes(&read))
}

/// The same for dividends.
#[must_use]
pub fn dividends(bytes: &[u8]) -> Option<Vec<u8>> {
    Paid::from_bytes(bytes).map(|read| read.to_bytes())
}

/// The same for bars that were refused.
#[must_use]
pub fn refused(bytes: &[u8]) -> Option<Vec<u8>> {
    notes::from_bytes::<Vec<notes::RefusedNote>>(bytes).map(|read| notes::to_bytes(&read))
}
