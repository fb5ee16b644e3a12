//! Small documents: how one lies on disk. Not here: what they say.

use panscan_core::time::Timestamp;

use crate::format::Fault;

const MAGIC: [u8; 8] = *b"pannote\x1a";
const VERSION: u32 = 1;
/// Longest document kept, in bytes.
pub(crate) const NOTE_BYTES_MAX: usize = 64 << 20;

/// The first 40 bytes of a note, little-endian.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    body_crc: u32,
    /// Nanoseconds since the Unix epoch.
    at: i64,
    body_bytes: u64,
    /// CRC-32 of the note's place; 0 where it has none, and in notes of older builds.
    place_crc: u32,
    /// Of the 36 bytes before it.
    header_crc: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// The bytes that stand before the body of a note whose key says enough of its place.
pub(crate) fn head(at: Timestamp, body: &[u8]) -> Vec<u8> {
    head_at("", at, body)
}

/// The bytes that stand before the body of the note at `place` below the folder of the layout.
pub(crate) fn head_at(place: &str, at: Timestamp, body: &[u8]) -> Vec<u8> {
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        body_crc: crc32fast::hash(body),
        at: at.as_nanos(),
        body_bytes: body.len() as u64,
        place_crc: crc32fast::hash(place.as_bytes()),
        header_crc: 0,
    };
    header.header_crc = crc32fast::hash(&bytemuck::bytes_of(&header)[..HEADER_BYTES - 4]);
    bytemuck::bytes_of(&header).to_vec()
}

/// The checksum that a head ends with, and when its note was made.
pub(crate) fn head_of(bytes: &[u8]) -> Option<(u32, i64)> {
    let header: Header = bytemuck::pod_read_unaligned(bytes.get(..HEADER_BYTES)?);
    Some((header.header_crc, header.at))
}

/// Checks a note and takes its head off.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<(Timestamp, Vec<u8>), Fault> {
    decode_at("", bytes)
}

/// Checks the note at `place` and takes its head off.
pub(crate) fn decode_at(place: &str, mut bytes: Vec<u8>) -> Result<(Timestamp, Vec<u8>), Fault> {
    let (_, at) = verified(place, &bytes)?;
    bytes.drain(..HEADER_BYTES);
    Ok((Timestamp::from_nanos(at), bytes))
}

/// Checks the note at `place`: the checksum that its head ends with, and when it was made.
pub(crate) fn verified(place: &str, bytes: &[u8]) -> Result<(u32, i64), Fault> {
    let first = bytes.get(..HEADER_BYTES).ok_or(Fault::Length)?;
    let header: Header = bytemuck::pod_read_unaligned(first);
    if header.magic != MAGIC {
        return Err(Fault::Magic);
    }
    if crc32fast::hash(&first[..HEADER_BYTES - 4]) != header.header_crc {
        return Err(Fault::Checksum("header"));
    }
    if header.version != VERSION {
        return Err(Fault::Version(header.version));
    }
    if header.body_bytes != (bytes.len() - HEADER_BYTES) as u64 {
        return Err(Fault::Length);
    }
    if crc32fast::hash(&bytes[HEADER_BYTES..]) != header.body_crc {
        return Err(Fault::Checksum("body"));
    }
    if header.place_crc != 0 && header.place_crc != crc32fast::hash(place.as_bytes()) {
        return Err(Fault::content("it is the note of another place"));
    }
    Ok((header.header_crc, header.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_and_every_truncation_is_seen() {
        let at = Timestamp::from_seconds(1_700_000_000);
        let whole = [head_at("m/notes/n", at, b"a small document"), b"a small document".to_vec()].concat();
        assert_eq!(decode_at("m/notes/n", whole.clone()).unwrap(), (at, b"a small document".to_vec()));
        assert_eq!(decode_at("m/notes/n", head_at("m/notes/n", at, b"")).unwrap(), (at, Vec::new()));
        assert_eq!(decode([head(at, b"x"), b"x".to_vec()].concat()).unwrap().1, b"x");
        assert!(decode_at("m/notes/other", whole.clone()).is_err());
        for cut in 0..whole.len() {
            assert!(decode_at("m/notes/n", whole[..cut].to_vec()).is_err(), "{cut}");
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[cut] ^= 1 << bit;
                assert!(decode_at("m/notes/n", bad).is_err(), "byte {cut} bit {bit}");
            }
        }
    }
}
