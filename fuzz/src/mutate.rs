//! New inputs out of old ones: bytes changed, taken out, doubled and joined, and words of the target put in.

use fastrand::Rng;

/// Longest input that is made.
pub const INPUT_MAX: usize = 4_096;

/// Bytes and texts that readers trip over.
const ODD: [&[u8]; 14] = [
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\"",
    b"\\",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"1e999",
    b"NaN",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\n\n",
    b"\xef\xbb\xbf",
];

/// A changed copy of `seed`; `other` is another known input to join it with.
#[must_use]
pub fn mutated(rng: &mut Rng, seed: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=rng.usize(0..4) {
        let at = rng.usize(0..=input.len());
        match rng.u8(0..9) {
            0 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] ^= 1 << rng.u8(0..8);
            }
            1 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] = rng.u8(..);
            }
            2 => input.insert(at, rng.u8(..)),
            3 => {
                let end = (at + rng.usize(1..32)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let end = (at + rng.usize(1..64)).min(input.len());
                let part = input[at..end].to_vec();
                let to = rng.usize(0..=input.len());
                input.splice(to..to, part);
            }
            5 => {
                let word = ODD[rng.usize(0..ODD.len())];
                input.splice(at..at, word.iter().copied());
            }
            6 if !other.is_empty() => {
                let from = rng.usize(0..other.len());
                let end = (from + rng.usize(1..128)).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
            7 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                if input[at].is_ascii_digit() {
                    input[at] = b'0' + rng.u8(0..10);
                } else {
                    input.truncate(at);
                }
            }
            _ if !words.is_empty() => {
                let word = words[rng.usize(0..words.len())];
                input.splice(at..at, word.bytes());
            }
            _ => input.push(rng.u8(..)),
        }
    }
    input.truncate(INPUT_MAX);
    input
}
