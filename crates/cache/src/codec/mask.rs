//! Which values of a chunk are absent: NaN as blocks are filled with it. Any other NaN is a value like others.

use super::read::Reader;
use super::{CHUNK, Damaged};

const WORDS: usize = CHUNK / 64;
/// Runs that are told one by one; more take a bit for every value.
const RUNS_MAX: usize = 15;

const NONE: u8 = 0;
const SAME_AS_CLOSE: u8 = 1;
const RUNS: u8 = 2;
const BITS: u8 = 3;

/// One bit for each value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mask([u64; WORDS]);

impl Mask {
    pub(super) fn of(values: &[f64]) -> Self {
        let absent = f64::NAN.to_bits();
        let mut mask = Self::default();
        for (word, values) in mask.0.iter_mut().zip(values.chunks(64)) {
            for (i, value) in values.iter().enumerate() {
                *word |= u64::from(value.to_bits() == absent) << i;
            }
        }
        mask
    }

    pub(super) fn has(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    fn is_none(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// First and last place of each run.
    fn runs(&self) -> Vec<(u8, u8)> {
        let mut runs: Vec<(u8, u8)> = Vec::new();
        for i in (0..CHUNK).filter(|i| self.has(*i)) {
            match runs.last_mut() {
                Some((_, last)) if usize::from(*last) + 1 == i => *last = i as u8,
                _ => runs.push((i as u8, i as u8)),
            }
        }
        runs
    }

    /// How it is written, in two bits.
    pub(super) fn code(&self, same_as_close: bool) -> u8 {
        match () {
            () if self.is_none() => NONE,
            () if same_as_close => SAME_AS_CLOSE,
            () if self.runs().len() <= RUNS_MAX => RUNS,
            () => BITS,
        }
    }

    pub(super) fn write(&self, same_as_close: bool, out: &mut Vec<u8>) {
        match self.code(same_as_close) {
            RUNS => {
                let runs = self.runs();
                out.push(runs.len() as u8);
                runs.iter().for_each(|(first, last)| out.extend_from_slice(&[*first, *last]));
            }
            BITS => self.0.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes())),
            _ => {}
        }
    }

    pub(super) fn read(code: u8, close: &Self, reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut mask = Self::default();
        match code {
            NONE => {}
            SAME_AS_CLOSE => mask = close.clone(),
            RUNS => {
                let count = usize::from(reader.byte()?);
                for run in reader.take(count * 2)?.chunks_exact(2) {
                    for i in usize::from(run[0])..=usize::from(run[1]) {
                        mask.0[i / 64] |= 1 << (i % 64);
                    }
                }
            }
            _ => {
                for word in &mut mask.0 {
                    *word = u64::from_le_bytes(reader.array()?);
                }
            }
        }
        Ok(mask)
    }

    /// Makes its values absent.
    #[inline]
    pub(super) fn apply(&self, out: &mut [f64; CHUNK]) {
        if self.is_none() {
            return;
        }
        for (mut word, values) in self.0.iter().copied().zip(out.chunks_exact_mut(64)) {
            while word != 0 {
                values[word.trailing_zeros() as usize] = f64::NAN;
                word &= word - 1;
            }
        }
    }
}
