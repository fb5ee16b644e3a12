//! A body as it travels, and what it says: gzip and zstd read in one go, into memory that is used again, up to a
//! bound.
//!
//! Not here: files that are too large to be held whole, which the providers of files read piece by piece.

use std::cell::Cell;
use std::io::{ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

/// Largest body that is read, unpacked; the largest page of bars is a tenth of it.
pub(crate) const BODY_MAX: usize = 64 << 20;
/// What is accepted, for the request's header.
pub(crate) const ACCEPTED: &str = "zstd, gzip";
/// Times its packed size that a body is first given room for; JSON comes to three to ten.
const ROOM_RATIO: usize = 16;
/// Room that is given where nothing tells how much is needed.
const ROOM_MIN: usize = 4 << 10;
/// Largest window of zstd, as a power of two: no more than the largest body.
const WINDOW_LOG_MAX: u32 = 26;
/// Memory that a thread keeps for the next body; a page of 50,000 bars is five MiB.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// In gzip, of one member or several.
    Gzip,
    /// In zstd.
    Zstd,
}

impl Packing {
    /// What the headers say.
    ///
    /// # Errors
    ///
    /// Says so where it is packed in a way that was not offered.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut codings = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(|coding| coding.trim().to_ascii_lowercase())
            .filter(|coding| !coding.is_empty() && coding != "identity");
        let packing = match codings.next().as_deref() {
            None => Self::Plain,
            Some("gzip" | "x-gzip") => Self::Gzip,
            Some("zstd") => Self::Zstd,
            Some(_) => return Err("the answer is packed in a way that was not offered".to_owned()),
        };
        match codings.next() {
            None => Ok(packing),
            Some(_) => Err("the answer is packed more than once".to_owned()),
        }
    }

    /// About how many bytes of text so many packed ones are.
    pub(crate) fn unpacked_estimate(self, bytes: usize) -> usize {
        if self == Self::Plain { bytes } else { bytes.saturating_mul(4) }
    }

    /// Unpacks a body.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn unpack(self, packed: Vec<u8>) -> Result<Vec<u8>, String> {
        if self == Self::Plain || packed.is_empty() {
            return Ok(packed);
        }
        let mut body = SPARE.take();
        match self {
            Self::Zstd => unzstd(&packed, &mut body)?,
            _ => gunzip(&packed, &mut body)?,
        }
        Ok(body)
    }
}

thread_local! {
    /// Memory of a body that was read on this thread: fresh memory costs a page fault every 4 KiB. It goes with the
    /// thread, and those that read large bodies end when there is nothing to do for a while.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the memory of a body that was read for the next one on this thread.
pub(crate) fn reuse(body: Vec<u8>) {
    if body.capacity() <= SPARE_BYTES_MAX {
        SPARE.set(body);
    }
}

/// Reads a gzip body into `into`, whose former content is lost.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn gunzip(packed: &[u8], into: &mut Vec<u8>) -> Result<(), String> {
    // The last four bytes claim the size; a hint only, for anything may stand there.
    let claimed = packed.last_chunk().map_or(0, |size: &[u8; 4]| u32::from_le_bytes(*size) as usize);
    let likely = claimed.min(packed.len().saturating_mul(ROOM_RATIO));
    whole(MultiGzDecoder::new(packed), likely, into).map_err(|error| format!("wrong gzip: {error}"))
}

fn unzstd(packed: &[u8], into: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("wrong zstd: {error}");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|error| wrong(&error))?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| wrong(&error))?;
    let likely = packed.len().saturating_mul(ROOM_RATIO / 2);
    whole(decoder, likely, into).map_err(|error| wrong(&error))
}

/// Reads everything, in as few steps as the room allows.
fn whole(mut from: impl Read, likely: usize, into: &mut Vec<u8>) -> Result<(), String> {
    // One more than likely, so that the end shows without another step.
    let room = likely.clamp(ROOM_MIN, BODY_MAX) + 1;
    if into.capacity() < room {
        // Zeroed by the system, and not touched before it is written to.
        *into = vec![0; room];
    } else if into.len() < room {
        into.resize(room, 0);
    }
    let mut len = 0;
    loop {
        if len > BODY_MAX {
            return Err(format!("the answer is longer than {} MiB", BODY_MAX >> 20));
        }
        if len == into.len() {
            into.resize((len * 2).min(BODY_MAX + 1), 0);
        }
        match from.read(&mut into[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    into.truncate(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use reqwest::header::HeaderValue;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|n| b"0123456789abcdef"[(n * n / 7) % 16]).collect()
    }

    #[test]
    fn bodies_come_back_whole_whatever_was_read_before() {
        for len in [0, 1, 4 << 10, 300_000, 5_000_000, 70_000, 3] {
            let body = text(len);
            for (packing, packed) in [
                (Packing::Plain, body.clone()),
                (Packing::Gzip, gzip(&body)),
                (Packing::Zstd, zstd::encode_all(&body[..], 3).unwrap()),
            ] {
                let read = packing.unpack(packed).unwrap();
                assert!(read == body, "{packing:?} of {len}");
                reuse(read);
            }
        }
        let two = [gzip(b"one, "), gzip(b"two")].concat();
        assert_eq!(Packing::Gzip.unpack(two).unwrap(), b"one, two");
        assert!(Packing::Gzip.unpack(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_wrong_size_at_the_end_is_an_error_and_no_reservation() {
        let mut packed = gzip(&text(1000));
        let at = packed.len() - 4;
        packed[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut into = Vec::new();
        assert!(gunzip(&packed, &mut into).is_err());
        assert!(into.capacity() <= packed.len() * ROOM_RATIO + ROOM_MIN);
    }

    #[test]
    fn damage_and_truncation_are_errors() {
        let body = text(50_000);
        for (packing, packed) in
            [(Packing::Gzip, gzip(&body)), (Packing::Zstd, zstd::encode_all(&body[..], 3).unwrap())]
        {
            for cut in [1, packed.len() / 2, packed.len() - 1] {
                assert!(packing.unpack(packed[..cut].to_vec()).is_err(), "{packing:?} cut at {cut}");
            }
            assert!(packing.unpack(b"{\"status\":\"OK\"}".to_vec()).is_err());
        }
        let mut damaged = gzip(&body);
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        assert!(Packing::Gzip.unpack(damaged).is_err());
    }

    #[test]
    fn a_small_body_that_unpacks_to_too_much_is_refused() {
        let much = vec![b' '; BODY_MAX + 1];
        for (packing, packed) in
            [(Packing::Gzip, gzip(&much)), (Packing::Zstd, zstd::encode_all(&much[..], 1).unwrap())]
        {
            assert!(packed.len() < 1 << 20);
            let refused = packing.unpack(packed).unwrap_err();
            assert!(refused.contains("longer than 64 MiB"), "{refused}");
        }
        assert_eq!(Packing::Gzip.unpack(gzip(&much[1..])).unwrap().len(), BODY_MAX);
    }

    #[test]
    fn only_what_was_offered_is_read() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Packing::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Packing::Plain));
        assert_eq!(of(&["identity"]), Ok(Packing::Plain));
        assert_eq!(of(&["GZip"]), Ok(Packing::Gzip));
        assert_eq!(of(&["zstd"]), Ok(Packing::Zstd));
        assert!(of(&["br"]).is_err());
        assert!(of(&["gzip, zstd"]).is_err() && of(&["gzip", "gzip"]).is_err());
    }
}
