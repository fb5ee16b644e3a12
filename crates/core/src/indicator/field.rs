//! Fields of bars and attributes of symbols.

use super::{Body, Definition, FunctionKind, Parameter, ParameterKind};
use crate::bar::Field;
use crate::plan::{NumberAttribute, TextSource};
use crate::universe::TextAttribute;

const fn field(name: &'static str, field: Field, definition: &'static str, unit: &'static str) -> Definition {
    Definition {
        name,
        parameters: &[],
        kind: FunctionKind::Field,
        lookback: "0",
        definition,
        unit,
        source: "",
        examples: &[],
        body: Body::Field(field),
    }
}

const fn derived(
    name: &'static str,
    lookback: &'static str,
    text: &'static str,
    definition: &'static str,
    unit: &'static str,
) -> Definition {
    Definition { lookback, body: Body::Expansion(text), ..field(name, Field::Close, definition, unit) }
}

const fn text(name: &'static str, source: TextSource, definition: &'static str) -> Definition {
    Definition {
        kind: FunctionKind::Attribute,
        body: Body::Text(source),
        ..field(name, Field::Close, definition, "")
    }
}

const fn number(
    name: &'static str,
    attribute: NumberAttribute,
    definition: &'static str,
    unit: &'static str,
) -> Definition {
    Definition {
        kind: FunctionKind::Attribute,
        body: Body::Number(attribute),
        ..field(name, Field::Close, definition, unit)
    }
}

pub(super) const TABLE: &[Definition] = &[
    field("open", Field::Open, "first price of the bar, adjusted as asked", "USD"),
    field("high", Field::High, "highest price of the bar, adjusted as asked", "USD"),
    field("low", Field::Low, "lowest price of the bar, adjusted as asked", "USD"),
    field("close", Field::Close, "last price of the bar, adjusted as asked", "USD"),
    field("volume", Field::Volume, "shares traded, adjusted for splits when prices are", "shares"),
    field("trades", Field::Trades, "number of trades; null if the provider sent none", "count"),
    field("bar_vwap", Field::Vwap, "the provider's vwap of the bar; null if it sent none", "USD"),
    derived("typical", "0", "(high + low + close) / 3", "(high + low + close) / 3", "USD"),
    derived("hl2", "0", "(high + low) / 2", "(high + low) / 2", "USD"),
    derived("ohlc4", "0", "(open + high + low + close) / 4", "(open + high + low + close) / 4", "USD"),
    derived("dollar_volume", "0", "close * volume", "close * volume", "USD"),
    derived("change", "1", "close - close[1]", "close - close[1]", "USD"),
    derived("change_pct", "1", "100 * (close / close[1] - 1)", "100 * (close / close[1] - 1)", "%"),
    derived(
        "gap_pct",
        "1",
        "100 * (open / close[1] - 1)",
        "100 * (open / close[1] - 1); on intraday timeframes only at a session's first bar, else null",
        "%",
    ),
    text("symbol", TextSource::Symbol, "the ticker"),
    text("name", TextSource::Attribute(TextAttribute::Name), "name of the company or fund"),
    text("exchange", TextSource::Attribute(TextAttribute::Exchange), "market identifier code, e.g. XNAS"),
    text("type", TextSource::Attribute(TextAttribute::Type), "security type, e.g. CS, ETF"),
    text("sector", TextSource::Attribute(TextAttribute::Sector), "sector"),
    text("industry", TextSource::Attribute(TextAttribute::Industry), "industry"),
    text("country", TextSource::Attribute(TextAttribute::Country), "country"),
    text("currency", TextSource::Attribute(TextAttribute::Currency), "currency code"),
    number("market_cap", NumberAttribute::MarketCap, "market capitalisation as of the scan", "USD"),
    number(
        "shares_outstanding",
        NumberAttribute::SharesOutstanding,
        "shares outstanding as of the scan",
        "shares",
    ),
    number(
        "days_listed",
        NumberAttribute::DaysListed,
        "sessions since the list date, up to the newest session",
        "count",
    ),
    number("active", NumberAttribute::Active, "whether it is still listed", "bool"),
    Definition {
        parameters: &[Parameter::new("id", ParameterKind::Literal)],
        kind: FunctionKind::Attribute,
        body: Body::InUniverse,
        examples: &["in_universe('default')"],
        ..field(
            "in_universe",
            Field::Close,
            "whether the symbol belongs to that universe, as of the scan",
            "bool",
        )
    },
];
