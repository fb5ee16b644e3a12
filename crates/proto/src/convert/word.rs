//! Enums: the zero of each is the default that the contract documents; a number that it does not know is a
//! violation.

use panscan_core::plan::ValueKind;
use panscan_core::scan::{
    Adjustment, Backend, BarSelection, DataPolicy, FactorTransform, MissingFactor, Order, Precision,
    SessionHours,
};

use crate::error::Violations;
use crate::v1;

/// An enum of the domain with its numbers on the wire.
pub(super) trait Word: Sized {
    /// The name of the wire's enum, for messages.
    const NAME: &'static str;
    /// The value of a number; `None` when the contract has no such number.
    fn read(number: i32) -> Option<Self>;
    /// The number, never that of UNSPECIFIED.
    fn number(self) -> i32;
}

/// Reads a number of a request; an unknown one is a violation and reads as zero.
pub(super) fn word<W: Word + Default>(found: &mut Violations, field: &str, number: i32) -> W {
    W::read(number).unwrap_or_else(|| {
        unknown(found, field, number, W::NAME);
        W::default()
    })
}

/// Reports a number that an enum does not have.
pub(super) fn unknown(found: &mut Violations, field: &str, number: i32, name: &str) {
    found.push(
        field,
        "UNKNOWN_VALUE",
        format!("is {number}, which is no {name}; leave it out for the default"),
    );
}

macro_rules! words {
    ($($domain:ty, $wire:ident, $name:literal { $($from:ident => $to:expr),+ $(,)? })+) => {
        $(impl Word for $domain {
            const NAME: &'static str = $name;
            fn read(number: i32) -> Option<Self> {
                Some(match v1::$wire::try_from(number).ok()? {
                    v1::$wire::Unspecified => Self::default(),
                    $(v1::$wire::$from => $to,)+
                })
            }
            fn number(self) -> i32 {
                $(if self == $to { return v1::$wire::$from.into(); })+
                v1::$wire::Unspecified.into()
            }
        })+
    };
}

words! {
    Order, SortOrder, "SortOrder" { Desc => Self::Descending, Asc => Self::Ascending }
    Adjustment, Adjustment, "Adjustment" {
        Raw => Self::Raw, Splits => Self::Splits, SplitsAndDividends => Self::SplitsAndDividends,
    }
    BarSelection, BarSelection, "BarSelection" {
        IncludeForming => Self::IncludeForming, ClosedOnly => Self::ClosedOnly,
    }
    SessionHours, Session, "Session" { Regular => Self::Regular, Extended => Self::Extended }
    DataPolicy, DataPolicy, "DataPolicy" {
        BestEffort => Self::BestEffort,
        CachedOnly => Self::CachedOnly,
        RequireComplete => Self::RequireComplete,
    }
    FactorTransform, FactorTransform, "FactorTransform" {
        RobustZscore => Self::RobustZScore,
        Zscore => Self::ZScore,
        Percentile => Self::Percentile,
        None => Self::None,
    }
    MissingFactor, MissingFactor, "MissingFactor" { Null => Self::Null, Center => Self::Center }
    Precision, Precision, "Precision" { F64 => Self::F64, F32 => Self::F32 }
    Option<Backend>, Backend, "Backend" { Cpu => Some(Backend::Cpu), Cuda => Some(Backend::Cuda) }
    super::request::Format, ResultFormat, "ResultFormat" {
        Rows => Self::Rows, Columns => Self::Columns, Arrow => Self::Arrow,
    }
    Option<ValueKind>, ColumnType, "ColumnType" {
        Number => Some(ValueKind::Number),
        Integer => Some(ValueKind::Integer),
        Bool => Some(ValueKind::Bool),
        String => Some(ValueKind::Text),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn comes_back<W: Word + Default + PartialEq + Debug + Copy>(values: usize) {
        let known: Vec<W> = (1..100).map_while(W::read).collect();
        assert_eq!(known.len(), values, "{}", W::NAME);
        for (i, value) in known.iter().enumerate() {
            assert_eq!(value.number(), i as i32 + 1, "{} {value:?}", W::NAME);
        }
        assert_eq!(W::read(0), Some(W::default()));
        for number in [-1, values as i32 + 1, i32::MAX] {
            let mut found = Violations::default();
            assert_eq!(word::<W>(&mut found, "field", number), W::default());
            assert_eq!(found.reason(), "UNKNOWN_VALUE");
        }
    }

    #[test]
    fn every_number_comes_back_and_others_are_refused() {
        comes_back::<Order>(2);
        comes_back::<Adjustment>(3);
        comes_back::<BarSelection>(2);
        comes_back::<SessionHours>(2);
        comes_back::<DataPolicy>(3);
        comes_back::<FactorTransform>(4);
        comes_back::<MissingFactor>(2);
        comes_back::<Precision>(2);
        comes_back::<Option<Backend>>(2);
        comes_back::<crate::convert::request::Format>(3);
        comes_back::<Option<ValueKind>>(4);
    }
}
