//! The faults a caller must survive: their names, how likely each is, and which one a call gets.
//!
//! What each does to an answer is in [`crate::damage`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::error::SimError;
use crate::rng::Rng;

macro_rules! faults {
    ($($variant:ident $name:literal $recoverable:literal $doc:literal,)*) => {
        /// A fault that can be injected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FaultName {
            $(#[doc = $doc] $variant,)*
            /// Spread evenly over all that a correct client can recover from.
            Mixed,
        }

        impl FaultName {
            /// All faults; `mixed` is not one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the command line and in the audit.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Mixed => "mixed",
                }
            }

            /// Whether a correct client still gets its data, by asking again or by dropping what is wrong.
            #[must_use]
            pub const fn recoverable(self) -> bool {
                match self {
                    $(Self::$variant => $recoverable,)*
                    Self::Mixed => true,
                }
            }
        }
    };
}

faults! {
    TooMany "429" true "429 with the documented body.",
    TooManyRetryAfter "429_retry_after" true "429 with `Retry-After: 1`.",
    TooManyEmpty "429_empty" true "429 without a body.",
    ServerError "500" true "500 with a JSON body.",
    BadGatewayHtml "502_html" true "502 with an HTML page.",
    Unavailable "503" true "503 without a body.",
    GatewayTimeout "504" true "504 without a body.",
    SlowFirstByte "slow_first_byte" true "The answer starts two seconds late.",
    SlowDrip "slow_drip" true "The body arrives in small pieces over two seconds.",
    Stall "stall" true "Half the body, then nothing for a minute.",
    Truncate "truncate" true "Half the announced body, then the connection closes.",
    ShortLength "short_length" true "`Content-Length` is half of the body; the rest is not sent.",
    BadGzip "bad_gzip" true "Said to be gzip, damaged in the middle.",
    BadJson "bad_json" true "Half a JSON document, complete as a body.",
    HtmlOk "html_200" true "200 with an HTML page.",
    NotAuthorizedOk "not_authorized_200" false "200 with a NOT_AUTHORIZED body.",
    DropSocket "drop_socket" true "The connection closes without an answer.",
    NullResults "null_results" false "`results` is null.",
    EmptyPage "empty_page" false "A page without results.",
    NextUrlLoop "next_url_loop" false "`next_url` is the page itself.",
    NextUrlElsewhere "next_url_elsewhere" false "`next_url` points at another host.",
    AdjustedFlip "adjusted_flip" false "`adjusted` says the opposite of what was asked.",
    DuplicateRows "duplicate_rows" true "Some rows come twice.",
    ReorderedRows "reordered_rows" true "The rows are not in order.",
    ForeignRow "foreign_row" true "The first row belongs to another market.",
    RowOutside "row_outside" true "One row more lies outside the range asked for.",
    NulTicker "nul_ticker" true "One row more has a ticker with a NUL character (grouped only).",
    ClockSkew "clock_skew" false "The market status tells a time one hour ahead.",
    KeyRevoked "key_revoked" false "401 Unknown API Key.",
}

impl fmt::Display for FaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultName {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        if text == "mixed" {
            return Ok(Self::Mixed);
        }
        Self::ALL.iter().copied().find(|name| name.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|name| name.as_str()).collect();
            let short: String = text.chars().take(40).collect();
            SimError::setting("fault", format!("{short:?} is none of {}, mixed", names.join(", ")))
        })
    }
}

/// Reads `NAME=P`, P between 0 and 1.
///
/// # Errors
///
/// Names what is wrong and lists the names.
pub fn parse_fault(text: &str) -> Result<(FaultName, f64), SimError> {
    let (name, chance) =
        text.split_once('=').ok_or_else(|| SimError::setting("fault", "expected NAME=P, e.g. 503=0.05"))?;
    let chance = chance.parse().map_err(|_| SimError::setting("fault", "the probability is no number"))?;
    Ok((name.parse()?, chance))
}

/// Which faults are on, and the seeded choice among them.
pub(crate) struct Faults(Mutex<(BTreeMap<FaultName, f64>, Rng)>);

impl Faults {
    pub(crate) fn new(seed: u64, faults: &[(FaultName, f64)]) -> Result<Self, SimError> {
        Ok(Self(Mutex::new((spread(faults)?, Rng::new(seed, 0x0066_6175_6c74)))))
    }

    /// Replaces all probabilities.
    pub(crate) fn replace(&self, faults: &[(FaultName, f64)]) -> Result<(), SimError> {
        let spread = spread(faults)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = spread;
        Ok(())
    }

    /// Every fault with its present probability.
    pub(crate) fn list(&self) -> Vec<(FaultName, f64)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        FaultName::ALL.iter().map(|&name| (name, held.0.get(&name).copied().unwrap_or(0.0))).collect()
    }

    /// The fault of the next call, if it gets one.
    pub(crate) fn draw(&self) -> Option<FaultName> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (chances, rng) = &mut *held;
        if chances.is_empty() {
            return None;
        }
        let mut left = rng.unit();
        chances.iter().find_map(|(&name, &chance)| {
            left -= chance;
            (left < 0.0).then_some(name)
        })
    }
}

fn spread(faults: &[(FaultName, f64)]) -> Result<BTreeMap<FaultName, f64>, SimError> {
    let mut chances = BTreeMap::new();
    for &(name, chance) in faults {
        if !(0.0..=1.0).contains(&chance) {
            return Err(SimError::setting(
                "fault",
                format!("{name}={chance}: the probability must be 0 to 1"),
            ));
        }
        if name == FaultName::Mixed {
            let parts: Vec<_> = FaultName::ALL.iter().filter(|name| name.recoverable()).collect();
            for &&part in &parts {
                *chances.entry(part).or_insert(0.0) += chance / parts.len() as f64;
            }
        } else {
            *chances.entry(name).or_insert(0.0) += chance;
        }
    }
    chances.retain(|_, chance| *chance > 0.0);
    // the tolerance is for the sum of rounded parts
    if chances.values().sum::<f64>() > 1.0 + 1e-9 {
        return Err(SimError::setting("fault", "the probabilities add up to more than 1"));
    }
    Ok(chances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_are_refused_with_the_list() {
        for &name in FaultName::ALL {
            assert_eq!(name.as_str().parse::<FaultName>().unwrap(), name);
        }
        let fault = parse_fault("flood=0.1").unwrap_err().to_string();
        assert!(fault.contains("flood") && fault.contains("503"), "{fault}");
        assert!(parse_fault("503").is_err() && parse_fault("503=x").is_err());
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let faults = |seed| Faults::new(seed, &[(FaultName::Unavailable, 0.25)]).unwrap();
        let draw = |faults: Faults| (0..4_000).map(|_| faults.draw().is_some()).collect::<Vec<_>>();
        let first = draw(faults(1));
        let share = first.iter().filter(|&&hit| hit).count();
        assert!((900..1_100).contains(&share), "{share}");
        assert_eq!(first, draw(faults(1)));
        assert_ne!(first, draw(faults(2)));
    }

    #[test]
    fn mixed_spreads_over_the_recoverable_and_too_much_is_refused() {
        let faults = Faults::new(1, &[(FaultName::Mixed, 0.2)]).unwrap();
        let listed = faults.list();
        assert!((listed.iter().map(|fault| fault.1).sum::<f64>() - 0.2).abs() < 1e-9);
        assert!(listed.iter().all(|fault| fault.0.recoverable() == (fault.1 > 0.0)));
        assert!(faults.replace(&[(FaultName::Stall, 0.7), (FaultName::BadJson, 0.7)]).is_err());
        assert!(faults.replace(&[(FaultName::Stall, -0.1)]).is_err());
    }
}
