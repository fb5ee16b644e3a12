//! One chunk of every column. The four prices share a tick, so that three of them can be told from the first; the
//! other columns have their own. Not here: how a run of whole numbers is packed ([`super::fit`]).

use super::fit::{self, Fit};
use super::mask::Mask;
use super::read::{Reader, put_signed};
use super::scale::{self, Scale};
use super::{CHUNK, Damaged, wide};

/// What a column's chunk is kept as; the low two bits of its first byte.
const SAME: u8 = 0;
const PLAIN: u8 = 1;
const TICKS: u8 = 2;
const WIDE: u8 = 3;
/// Set in the first byte where a tick of the column's own follows.
const OWN_SCALE: u8 = 0x80;

/// The first four columns: open, high, low, close.
const PRICES: usize = 4;
const OPEN: usize = 0;
const HIGH: usize = 1;
const LOW: usize = 2;
const CLOSE: usize = 3;
const VWAP: usize = 5;

/// Ticks that prices are tried with, the quickest to unpack first.
const PRICE_SCALES: [Scale; 11] = [
    Scale::Decimal(2),
    Scale::Decimal(4),
    Scale::Decimal(3),
    Scale::Narrowed(2),
    Scale::Narrowed(4),
    Scale::Narrowed(3),
    Scale::Widened(2),
    Scale::Widened(4),
    Scale::Widened(3),
    Scale::Decimal(6),
    Scale::Single,
];
/// What a value beside its tick costs.
const ESCAPE_BITS: usize = 72;
/// How many of them are tried to the end.
const TRIED: usize = 2;

/// What a whole number is taken from before it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Nothing = 0,
    /// The same column one bar earlier.
    Before = 1,
    Close = 2,
    CloseBefore = 3,
    /// The larger of open and close.
    Top = 4,
    /// The smaller of open and close.
    Bottom = 5,
    /// The mean of the four prices, in this column's ticks.
    Middle = 6,
}

impl Guess {
    fn of(code: u8) -> Result<Self, Damaged> {
        Ok(match code {
            0 => Self::Nothing,
            1 => Self::Before,
            2 => Self::Close,
            3 => Self::CloseBefore,
            4 => Self::Top,
            5 => Self::Bottom,
            6 => Self::Middle,
            _ => return Err(Damaged("a guess of a kind that does not exist")),
        })
    }
}

/// The whole numbers of the four prices, zero where a column is not kept as ticks, and what else later columns
/// look back at.
#[derive(Debug, Clone)]
pub(super) struct Work {
    prices: [[i32; CHUNK]; PRICES],
    decimals: u8,
    mask: Mask,
}

impl Work {
    pub(super) fn new() -> Self {
        Self { prices: [[0; CHUNK]; PRICES], decimals: 0, mask: Mask::default() }
    }

    /// Ticks of `scale` in one tick of the prices.
    fn finer(&self, scale: Scale) -> i32 {
        let steps = scale.decimals().map_or(0, |k| k.saturating_sub(self.decimals));
        10_i32.pow(u32::from(steps.min(6)))
    }

    /// Replaces each number by what is left of it after the guess, or the other way round.
    #[inline]
    fn each(
        &self,
        guess: Guess,
        width: usize,
        finer: i32,
        numbers: &mut [i32; CHUNK],
        apply: fn(i32, i32) -> i32,
    ) {
        let [open, high, low, close] = &self.prices;
        match guess {
            Guess::Nothing | Guess::Before => {}
            Guess::Close => {
                for (n, c) in numbers.iter_mut().zip(close) {
                    *n = apply(*n, *c);
                }
            }
            Guess::CloseBefore => {
                let width = width.clamp(1, CHUNK);
                for n in &mut numbers[..width] {
                    *n = apply(*n, close[0]);
                }
                for (n, c) in numbers[width..].iter_mut().zip(close) {
                    *n = apply(*n, *c);
                }
            }
            Guess::Top => {
                for ((n, o), c) in numbers.iter_mut().zip(open).zip(close) {
                    *n = apply(*n, *o.max(c));
                }
            }
            Guess::Bottom => {
                for ((n, o), c) in numbers.iter_mut().zip(open).zip(close) {
                    *n = apply(*n, *o.min(c));
                }
            }
            Guess::Middle => {
                for ((((n, o), h), l), c) in numbers.iter_mut().zip(open).zip(high).zip(low).zip(close) {
                    let sum = o.wrapping_add(*h).wrapping_add(*l).wrapping_add(*c);
                    *n = apply(*n, (sum >> 2).wrapping_mul(finer));
                }
            }
        }
    }
}

/// Columns in the order in which they are kept: the close before the prices that are told from it.
fn order(columns: usize) -> impl Iterator<Item = usize> {
    let first: &[usize] = if columns >= PRICES { &[CLOSE, OPEN, HIGH, LOW] } else { &[] };
    first.iter().copied().chain(first.len()..columns)
}

/// Appends one chunk of every column.
pub(super) fn write(parts: &[&[f64]], width: usize, out: &mut Vec<u8>) {
    let masks: Vec<Mask> = parts.iter().map(|values| Mask::of(values)).collect();
    let mut best: Option<Vec<u8>> = None;
    for scale in promising(parts, &masks) {
        let mut bytes = Vec::with_capacity(CHUNK * parts.len() * 2);
        scale.write(&mut bytes);
        let mut work = Work { decimals: scale.decimals().unwrap_or(0), ..Work::new() };
        for column in order(parts.len()) {
            write_column(column, parts[column], &masks[column], scale, width, &mut work, &mut bytes);
        }
        if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
            best = Some(bytes);
        }
    }
    out.extend(best.unwrap_or_default());
}

/// The price ticks that seem to need the least room, at most [`TRIED`]; one alone where it fits everywhere.
fn promising(parts: &[&[f64]], masks: &[Mask]) -> Vec<Scale> {
    let prices = parts.len().min(PRICES);
    // A column alone may be one of volumes.
    let factor = if parts.len() < PRICES { parts.iter().find_map(|p| scale::common_factor(p)) } else { None };
    let cells: usize = parts[..prices].iter().map(|p| p.len()).sum();
    let mut best: Vec<(usize, Scale)> = Vec::with_capacity(TRIED + 1);
    for scale in factor.map(Scale::Multiple).into_iter().chain(PRICE_SCALES) {
        let bound = if best.len() < TRIED { usize::MAX } else { best[TRIED - 1].0 };
        let mut cost = scale.extra_bits() * cells;
        'count: for (values, mask) in parts[..prices].iter().zip(masks) {
            for (i, value) in values.iter().enumerate() {
                if scale.exact(*value).is_none() && !mask.has(i) {
                    cost += ESCAPE_BITS;
                    if cost >= bound {
                        break 'count;
                    }
                }
            }
        }
        if cost < bound {
            // Among equals the first, the quickest, stays first.
            let at = best.partition_point(|(c, _)| *c <= cost);
            best.insert(at, (cost, scale));
            best.truncate(TRIED);
        }
        if cost == 0 {
            best.truncate(1);
            break;
        }
    }
    best.into_iter().map(|(_, scale)| scale).collect()
}

/// A column as whole numbers, and the places of those that do not stand for their value.
struct Whole {
    numbers: [i32; CHUNK],
    escapes: Vec<u8>,
}

fn whole(values: &[f64], mask: &Mask, scale: Scale, width: usize, instead: Option<&[i32; CHUNK]>) -> Whole {
    let mut numbers = [0; CHUNK];
    let mut escapes = Vec::new();
    let first = values.iter().enumerate().filter(|(i, _)| !mask.has(*i)).find_map(|(_, v)| scale.exact(*v));
    for (i, value) in values.iter().enumerate() {
        let before = if i < width { first.unwrap_or(0) } else { numbers[i - width] };
        let other = instead.map_or(before, |instead| instead[i]);
        if mask.has(i) {
            numbers[i] = other;
        } else if let Some(n) = scale.exact(*value) {
            numbers[i] = n;
        } else {
            numbers[i] = scale.nearest(*value).unwrap_or(other);
            escapes.push(i as u8);
        }
    }
    Whole { numbers, escapes }
}

fn write_column(
    column: usize,
    values: &[f64],
    mask: &Mask,
    prices_scale: Scale,
    width: usize,
    work: &mut Work,
    out: &mut Vec<u8>,
) {
    let is_price = column < PRICES;
    if column == CLOSE {
        work.mask = mask.clone();
    }
    let Some(first) = values.first() else { return };
    if values.iter().all(|v| v.to_bits() == first.to_bits()) {
        out.push(SAME);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    let scales: Vec<Scale> = match column {
        _ if is_price => vec![prices_scale],
        VWAP => vec![Scale::Decimal(4), Scale::Decimal(2), Scale::Decimal(6), Scale::Widened(4)],
        _ => {
            let factor = scale::common_factor(values);
            factor.map(Scale::Multiple).into_iter().chain([2, 6].map(Scale::Decimal)).collect()
        }
    };
    let guesses: &[Guess] = match column {
        CLOSE => &[Guess::Before, Guess::Nothing],
        OPEN => &[Guess::CloseBefore, Guess::Close, Guess::Before],
        HIGH => &[Guess::Top, Guess::Before],
        LOW => &[Guess::Bottom, Guess::Before],
        VWAP => &[Guess::Middle, Guess::Before],
        _ => &[Guess::Nothing, Guess::Before],
    };
    let mut best = Vec::new();
    let mut kept = None;
    for scale in scales {
        let close = (is_price && column != CLOSE).then_some(&work.prices[CLOSE]);
        let whole = whole(values, mask, scale, width, close);
        if whole.escapes.len() * 3 > values.len() {
            continue;
        }
        let choice = guesses.iter().map(|guess| {
            let mut left = whole.numbers;
            match guess {
                Guess::Before => {
                    for i in (0..values.len()).rev() {
                        let before = if i < width { whole.numbers[0] } else { whole.numbers[i - width] };
                        left[i] = whole.numbers[i].wrapping_sub(before);
                    }
                }
                _ => work.each(*guess, width, work.finer(scale), &mut left, i32::wrapping_sub),
            }
            let fit = Fit::of(&left[..values.len()]);
            (fit.bytes(), *guess, fit, left)
        });
        let Some((_, guess, fit, left)) = choice.min_by_key(|(bytes, ..)| *bytes) else { continue };
        let mut bytes = Vec::with_capacity(CHUNK * 4);
        let own = if is_price { 0 } else { OWN_SCALE };
        let same_mask = column != CLOSE && *mask == work.mask;
        bytes.push(TICKS | mask.code(same_mask) << 2 | (guess as u8) << 4 | own);
        mask.write(same_mask, &mut bytes);
        if !is_price {
            scale.write(&mut bytes);
        }
        if guess == Guess::Before {
            put_signed(whole.numbers[0], &mut bytes);
        }
        fit.write(&left[..values.len()], &mut bytes);
        bytes.push(whole.escapes.len() as u8);
        bytes.extend_from_slice(&whole.escapes);
        for i in &whole.escapes {
            bytes.extend_from_slice(&values[usize::from(*i)].to_le_bytes());
        }
        if best.is_empty() || bytes.len() < best.len() {
            best = bytes;
            kept = Some(whole.numbers);
        }
    }
    let raw_bytes = 1 + size_of_val(values);
    if best.is_empty() || best.len() * 2 > raw_bytes {
        let mut bytes = vec![WIDE];
        if wide::write(values, width, &mut bytes) && (best.is_empty() || bytes.len() < best.len()) {
            best = bytes;
            kept = None;
        }
    }
    if best.is_empty() || best.len() >= raw_bytes {
        best.clear();
        best.push(PLAIN);
        values.iter().for_each(|v| best.extend_from_slice(&v.to_le_bytes()));
        kept = None;
    }
    if let (true, Some(numbers)) = (is_price, kept) {
        work.prices[column] = numbers;
    }
    out.extend(best);
}

/// Reads one chunk of `n` values of every column.
pub(super) fn read(
    reader: &mut Reader<'_>,
    work: &mut Work,
    columns: usize,
    n: usize,
    width: usize,
    mut place: impl FnMut(usize, &[f64]),
) -> Result<(), Damaged> {
    let width = width.clamp(1, CHUNK);
    let scale = Scale::read(reader)?;
    work.decimals = scale.decimals().unwrap_or(0);
    let mut out = [0.0; CHUNK];
    for column in order(columns) {
        read_column(reader, work, column, scale, n, width, &mut out)?;
        place(column, &out[..n]);
    }
    Ok(())
}

fn read_column(
    reader: &mut Reader<'_>,
    work: &mut Work,
    column: usize,
    prices_scale: Scale,
    n: usize,
    width: usize,
    out: &mut [f64; CHUNK],
) -> Result<(), Damaged> {
    let head = reader.byte()?;
    let is_price = column < PRICES;
    if head & 3 != TICKS {
        if is_price {
            work.prices[column] = [0; CHUNK];
        }
        if column == CLOSE {
            work.mask = Mask::default();
        }
    }
    match head & 3 {
        SAME => {
            let value = f64::from_le_bytes(reader.array()?);
            out[..n].fill(value);
            if column == CLOSE {
                work.mask = Mask::of(&out[..n]);
            }
        }
        PLAIN => {
            for (out, bytes) in out.iter_mut().zip(reader.take(n * 8)?.chunks_exact(8)) {
                *out = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            if column == CLOSE {
                work.mask = Mask::of(&out[..n]);
            }
        }
        WIDE => {
            wide::read(reader, n, width, out)?;
            if column == CLOSE {
                work.mask = Mask::of(&out[..n]);
            }
        }
        _ => {
            let own_mask = Mask::read(head >> 2 & 3, &work.mask, reader)?;
            let guess = Guess::of(head >> 4 & 7)?;
            let scale = if head & OWN_SCALE == 0 { prices_scale } else { Scale::read(reader)? };
            let start = if guess == Guess::Before { reader.signed()? } else { 0 };
            let mut numbers = [0; CHUNK];
            fit::read(reader, n, &mut numbers)?;
            if guess == Guess::Before {
                add_up(&mut numbers, width, start);
            } else {
                work.each(guess, width, work.finer(scale), &mut numbers, i32::wrapping_add);
            }
            scale.apply(&numbers, out);
            if is_price {
                work.prices[column] = numbers;
            }
            own_mask.apply(out);
            if column == CLOSE {
                work.mask = own_mask;
            }
            let count = usize::from(reader.byte()?);
            let (places, values) = (reader.take(count)?, reader.take(count * 8)?);
            for (place, bytes) in places.iter().zip(values.chunks_exact(8)) {
                out[usize::from(*place)] = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// Makes sums of differences.
#[inline]
fn add_up(numbers: &mut [i32; CHUNK], width: usize, start: i32) {
    if width == 1 {
        let mut sum = start;
        for n in numbers {
            sum = sum.wrapping_add(*n);
            *n = sum;
        }
        return;
    }
    for n in &mut numbers[..width] {
        *n = n.wrapping_add(start);
    }
    for i in width..CHUNK {
        numbers[i] = numbers[i].wrapping_add(numbers[i - width]);
    }
}
