//! Scores that are there from the start: scans whose factors are written out as plain expressions, to be read, changed
//! and saved under another name.

use crate::indicator::{self, Body};
use crate::scan::{Factor, FactorTransform, ScanSpec};

/// What every id of a preset begins with; none of a caller's own does.
pub const PREFIX: &str = "preset-";

/// The built-in factors as calls.
pub const FACTORS: [&str; 5] = ["momentum()", "volatility()", "technical()", "liquidity()", "reversal()"];

/// Share clipped on either side before values are compared.
const WINSORIZE: f64 = 0.025;

/// A scan that is there from the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Its name without `scans/`.
    pub id: &'static str,
    /// In words.
    pub description: &'static str,
    /// Weights of momentum, volatility and the technical tests.
    weights: [f64; 3],
    /// Group inside which values are compared; empty: all.
    by: &'static str,
}

/// All of them, by name.
pub const PRESETS: [Preset; 4] = [
    Preset {
        id: "preset-balanced",
        description: "momentum and technical tests, held against volatility",
        weights: [0.4, -0.3, 0.3],
        by: "",
    },
    Preset {
        id: "preset-low-volatility",
        description: "calm first, then momentum and technical tests",
        weights: [0.2, -0.7, 0.1],
        by: "",
    },
    Preset {
        id: "preset-momentum",
        description: "momentum first, then volatility and technical tests",
        weights: [0.7, -0.15, 0.15],
        by: "",
    },
    Preset {
        id: "preset-sector-neutral",
        description: "as preset-balanced, each symbol among those of its sector",
        weights: [0.4, -0.3, 0.3],
        by: "sector",
    },
];

impl Preset {
    /// One by its id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.id == id)
    }

    /// Its scan: every factor written out, the score and each factor's part in it as columns.
    #[must_use]
    pub fn spec(&self) -> ScanSpec {
        let names = ["momentum", "volatility", "technical"];
        let factor = |(name, weight): (&str, f64)| Factor {
            name: name.to_owned(),
            expr: expansion(name),
            weight,
            // The tests take few values, so that half of a market can have the same: there the mean says more.
            transform: if name == "technical" {
                FactorTransform::ZScore
            } else {
                FactorTransform::RobustZScore
            },
            winsorize: if name == "technical" { 0.0 } else { WINSORIZE },
            by: self.by.to_owned(),
        };
        ScanSpec {
            columns: vec!["close".to_owned(), "score()".to_owned()],
            factors: names.into_iter().zip(self.weights).map(factor).collect(),
            ..ScanSpec::default()
        }
    }
}

/// The registry's own text of a built-in factor.
fn expansion(name: &str) -> String {
    match indicator::find(name).map(|definition| definition.body) {
        Some(Body::Expansion(text)) => text.to_owned(),
        _ => format!("{name}()"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::is_id;
    use crate::expr::plan;

    #[test]
    fn every_preset_plans_and_shows_its_factors() {
        for preset in PRESETS {
            assert!(is_id(preset.id) && preset.id.starts_with(PREFIX), "{}", preset.id);
            let spec = preset.spec();
            assert_eq!(spec.factors[0].expr, "roc(close[21], 230)", "written out");
            let plan = plan(&spec).unwrap();
            let names: Vec<&str> = plan.outputs.iter().map(|o| o.name.as_str()).collect();
            assert_eq!(
                names,
                ["close", "score()", "factor_momentum", "factor_volatility", "factor_technical"]
            );
            assert_eq!(plan.rank_by, Some(plan.outputs[1].node));
        }
        assert!(PRESETS.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(Preset::find("preset-momentum").is_some() && Preset::find("momentum").is_none());
    }
}
