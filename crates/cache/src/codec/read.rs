//! A cursor over bytes from anywhere: every read is bounded. And the numbers of variable length, both ways.

use super::Damaged;

/// Where reading has come to.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    #[inline]
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (part, rest) = self.rest.split_at_checked(n).ok_or(Damaged("they end too soon"))?;
        self.rest = rest;
        Ok(part)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged("they end too soon"))?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (part, rest) = self.rest.split_first_chunk().ok_or(Damaged("they end too soon"))?;
        self.rest = rest;
        Ok(*part)
    }

    /// Seven bits a byte, lowest first.
    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged("a number is too long"))
    }

    /// A signed number of 32 bits.
    pub(crate) fn signed(&mut self) -> Result<i32, Damaged> {
        let value = u32::try_from(self.varint()?).map_err(|_| Damaged("a number is too large"))?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }
}

/// Writes what [`Reader::varint`] reads.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes what [`Reader::signed`] reads.
pub(crate) fn put_signed(value: i32, out: &mut Vec<u8>) {
    put_varint(u64::from(((value << 1) ^ (value >> 31)) as u32), out);
}
