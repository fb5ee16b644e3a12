//! Element-wise arithmetic on single values, NaN being null: what every backend must agree with and what constants
//! fold with. Not here: anything over bars or symbols.

use crate::plan::{Binary, Unary};

/// The value, or null where it is not finite.
#[must_use]
pub fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// A bool as a column holds it.
#[must_use]
pub fn from_bool(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// An element-wise function of one value.
#[must_use]
pub fn unary(op: Unary, x: f64) -> f64 {
    if op == Unary::IsNull {
        return from_bool(x.is_nan());
    }
    if x.is_nan() {
        return x;
    }
    match op {
        Unary::Negate => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x > 0.0 => 1.0,
        Unary::Sign if x < 0.0 => -1.0,
        Unary::Sign => 0.0,
        Unary::Sqrt => finite(x.sqrt()),
        Unary::Exp => finite(x.exp()),
        Unary::Log => finite(x.ln()),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Not => from_bool(x == 0.0),
        Unary::IsNull => from_bool(false),
    }
}

/// An element-wise function of two values.
#[must_use]
pub fn binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Coalesce => return if a.is_nan() { b } else { a },
        Binary::And if a == 0.0 || b == 0.0 => return 0.0,
        Binary::Or if a == 1.0 || b == 1.0 => return 1.0,
        _ => {}
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    match op {
        Binary::Add => finite(a + b),
        Binary::Subtract => finite(a - b),
        Binary::Multiply => finite(a * b),
        Binary::Divide => finite(a / b),
        Binary::Power => finite(a.powf(b)),
        Binary::Less => from_bool(a < b),
        Binary::LessEqual => from_bool(a <= b),
        Binary::Greater => from_bool(a > b),
        Binary::GreaterEqual => from_bool(a >= b),
        Binary::Equal => from_bool(a == b),
        Binary::NotEqual => from_bool(a != b),
        Binary::Minimum => a.min(b),
        Binary::Maximum => a.max(b),
        // Decided above unless both are true (and) or both are false (or).
        Binary::And => 1.0,
        Binary::Or => 0.0,
        Binary::Coalesce => a,
    }
}

/// Rounds half away from zero to `digits` decimals.
#[must_use]
pub fn round(digits: i32, x: f64) -> f64 {
    if digits == 0 || x.is_nan() {
        return x.round();
    }
    let scale = 10_f64.powi(digits.abs());
    let scaled = if digits > 0 { x * scale } else { x / scale };
    if !scaled.is_finite() {
        // Too large to have decimals.
        return x;
    }
    finite(if digits > 0 { scaled.round() / scale } else { scaled.round() * scale })
}

/// `then` where the condition is true, `otherwise` where it is false, null where it is null.
#[must_use]
pub fn choose(condition: f64, then: f64, otherwise: f64) -> f64 {
    if condition.is_nan() {
        f64::NAN
    } else if condition == 0.0 {
        otherwise
    } else {
        then
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: f64 = f64::NAN;

    #[test]
    fn arithmetic_on_null_and_beyond_the_finite_is_null() {
        for (op, a, b) in [
            (Binary::Divide, 1.0, 0.0),
            (Binary::Divide, 0.0, 0.0),
            (Binary::Multiply, 1e308, 10.0),
            (Binary::Power, -8.0, 0.5),
            (Binary::Add, NULL, 1.0),
            (Binary::Less, 1.0, NULL),
            (Binary::NotEqual, NULL, NULL),
            (Binary::Minimum, NULL, 1.0),
            (Binary::Maximum, 1.0, NULL),
        ] {
            assert!(binary(op, a, b).is_nan(), "{op:?} {a} {b}");
        }
        for (op, x) in [(Unary::Log, 0.0), (Unary::Log, -1.0), (Unary::Sqrt, -1.0), (Unary::Exp, 1e3)] {
            assert!(unary(op, x).is_nan(), "{op:?} {x}");
        }
        assert_eq!(binary(Binary::Coalesce, NULL, 3.0), 3.0);
        assert_eq!(unary(Unary::IsNull, NULL), 1.0);
        assert_eq!(unary(Unary::IsNull, 0.0), 0.0);
    }

    #[test]
    fn logic_is_three_valued() {
        let values = [0.0, 1.0, NULL];
        let and = [[0.0, 0.0, 0.0], [0.0, 1.0, NULL], [0.0, NULL, NULL]];
        let or = [[0.0, 1.0, NULL], [1.0, 1.0, 1.0], [NULL, 1.0, NULL]];
        for (i, a) in values.into_iter().enumerate() {
            for (j, b) in values.into_iter().enumerate() {
                assert_eq!(binary(Binary::And, a, b).to_bits(), f64::to_bits(and[i][j]), "{a} and {b}");
                assert_eq!(binary(Binary::Or, a, b).to_bits(), f64::to_bits(or[i][j]), "{a} or {b}");
            }
        }
        assert!(unary(Unary::Not, NULL).is_nan());
        assert_eq!([unary(Unary::Not, 0.0), unary(Unary::Not, 1.0)], [1.0, 0.0]);
        assert!(choose(NULL, 1.0, 2.0).is_nan());
        assert_eq!([choose(1.0, 1.0, 2.0), choose(0.0, 1.0, 2.0)], [1.0, 2.0]);
    }

    #[test]
    fn rounding_goes_half_away_from_zero() {
        assert_eq!([round(0, 2.5), round(0, -2.5), round(0, 0.49)], [3.0, -3.0, 0.0]);
        assert_eq!([round(2, 1.125), round(1, -0.25), round(-2, 150.0)], [1.13, -0.3, 200.0]);
        assert!(round(0, NULL).is_nan() && round(3, NULL).is_nan());
        assert_eq!([round(12, 1e300), round(-12, 1e300)], [1e300, 1e300]);
        assert_eq!([unary(Unary::Sign, 0.0), unary(Unary::Sign, -3.0)], [0.0, -1.0]);
    }
}
