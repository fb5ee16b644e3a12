//! One bar, its fields, and what makes it unfit to be stored.

use std::fmt;

/// A column of bars. The order is the order on disk and in every tile; new fields go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// First price, USD.
    Open,
    /// Highest price, USD.
    High,
    /// Lowest price, USD.
    Low,
    /// Last price, USD.
    Close,
    /// Shares traded; fractional since 2026 and after split adjustment.
    Volume,
    /// The provider's volume-weighted average price, USD; NaN where it sent none.
    Vwap,
    /// Number of trades; NaN where the provider sent none.
    Trades,
}

impl Field {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, in column order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Open, Self::High, Self::Low, Self::Close, Self::Volume, Self::Vwap, Self::Trades];

    /// Its column.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::Volume => "volume",
            Self::Vwap => "vwap",
            Self::Trades => "trades",
        }
    }

    /// Whether a split multiplies it by the price factor.
    #[must_use]
    pub const fn is_price(self) -> bool {
        matches!(self, Self::Open | Self::High | Self::Low | Self::Close | Self::Vwap)
    }
}

/// Open, high, low, close, volume, vwap and trades of one symbol over one interval. Built by [`Bar::new`] only,
/// so a wrong one does not exist; the f64 bits are those that the provider sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    values: [f64; Field::COUNT],
}

/// Why a bar is quarantined. Never a reason to repair it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BarFault {
    /// Open, high, low, close or volume is not there.
    Missing(Field),
    /// NaN or infinite.
    NotFinite(Field),
    /// A price of zero or below.
    NotPositive(Field),
    /// Volume or trades below zero.
    Negative(Field),
    /// High below low.
    HighBelowLow,
    /// Open or close outside low to high.
    OutsideRange(Field),
    /// A second, different bar for the same symbol and interval.
    Conflicting,
    /// The symbol or the session is not the one asked for.
    Foreign,
    /// The text of the symbol is none.
    BadSymbol,
}

impl fmt::Display for BarFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "{} is missing", field.name()),
            Self::NotFinite(field) => write!(f, "{} is not finite", field.name()),
            Self::NotPositive(field) => write!(f, "{} is not above zero", field.name()),
            Self::Negative(field) => write!(f, "{} is below zero", field.name()),
            Self::HighBelowLow => f.write_str("high is below low"),
            Self::OutsideRange(field) => write!(f, "{} lies outside low to high", field.name()),
            Self::Conflicting => f.write_str("two different bars for one interval"),
            Self::Foreign => f.write_str("not the symbol or session that was asked for"),
            Self::BadSymbol => f.write_str("the symbol is not one"),
        }
    }
}

impl Bar {
    /// Checks the values, in [`Field`] order; NaN in vwap or trades means that the provider sent none.
    ///
    /// Vwap is not held against high and low: it counts trades that those leave out, and real ones lie outside.
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub fn new(values: [f64; Field::COUNT]) -> Result<Self, BarFault> {
        let [open, high, low, close, volume, vwap, trades] = values;
        for field in [Field::Open, Field::High, Field::Low, Field::Close] {
            let price = values[field.index()];
            if price.is_nan() {
                return Err(BarFault::Missing(field));
            }
            if price.is_infinite() {
                return Err(BarFault::NotFinite(field));
            }
            if price <= 0.0 {
                return Err(BarFault::NotPositive(field));
            }
        }
        if high < low {
            return Err(BarFault::HighBelowLow);
        }
        if open < low || open > high {
            return Err(BarFault::OutsideRange(Field::Open));
        }
        if close < low || close > high {
            return Err(BarFault::OutsideRange(Field::Close));
        }
        if volume.is_nan() {
            return Err(BarFault::Missing(Field::Volume));
        }
        for (field, value) in [(Field::Volume, volume), (Field::Vwap, vwap), (Field::Trades, trades)] {
            if value.is_infinite() {
                return Err(BarFault::NotFinite(field));
            }
            if value < 0.0 {
                return Err(BarFault::Negative(field));
            }
        }
        Ok(Self { values })
    }

    /// One field; NaN where vwap or trades are absent.
    #[must_use]
    pub fn get(&self, field: Field) -> f64 {
        self.values[field.index()]
    }

    /// All fields in [`Field`] order.
    #[must_use]
    pub fn values(&self) -> &[f64; Field::COUNT] {
        &self.values
    }

    /// Whether every field has the same bits.
    #[must_use]
    pub fn same_bits(&self, other: &Self) -> bool {
        self.values.iter().zip(other.values).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [f64; 7] = [10.0, 11.0, 9.0, 10.5, 1000.0, 10.2, 12.0];

    fn with(field: Field, value: f64) -> Result<Bar, BarFault> {
        let mut values = GOOD;
        values[field.index()] = value;
        Bar::new(values)
    }

    #[test]
    fn accepts_what_the_market_sends() {
        assert!(Bar::new(GOOD).is_ok());
        assert!(with(Field::Vwap, f64::NAN).is_ok());
        assert!(with(Field::Trades, f64::NAN).is_ok());
        assert!(with(Field::Vwap, 99.0).is_ok(), "vwap outside low to high is real");
        assert!(with(Field::Volume, 0.0).is_ok());
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(with(Field::Open, f64::NAN), Err(BarFault::Missing(Field::Open)));
        assert_eq!(with(Field::Close, f64::INFINITY), Err(BarFault::NotFinite(Field::Close)));
        assert_eq!(with(Field::Low, 0.0), Err(BarFault::NotPositive(Field::Low)));
        assert_eq!(with(Field::High, 8.0), Err(BarFault::HighBelowLow));
        assert_eq!(with(Field::Open, 12.0), Err(BarFault::OutsideRange(Field::Open)));
        assert_eq!(with(Field::Close, 8.5), Err(BarFault::OutsideRange(Field::Close)));
        assert_eq!(with(Field::Volume, -1.0), Err(BarFault::Negative(Field::Volume)));
        assert_eq!(with(Field::Volume, f64::NAN), Err(BarFault::Missing(Field::Volume)));
        assert_eq!(with(Field::Vwap, f64::INFINITY), Err(BarFault::NotFinite(Field::Vwap)));
    }
}
