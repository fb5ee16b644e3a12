//! The usual way, to measure against: one symbol at a time, one indicator at a time, each indicator's full series
//! computed into a vector of its own and the last value read off, as with a library of indicators.

use panscan_core::bar::Field;
use panscan_core::panel::Panel;
use panscan_core::symbol::SymbolId;
use panscan_core::time::SessionDate;

/// One symbol's columns, as a user of a library holds them.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Highest prices.
    pub high: Vec<f64>,
    /// Lowest prices.
    pub low: Vec<f64>,
    /// Last prices.
    pub close: Vec<f64>,
    /// Shares traded.
    pub volume: Vec<f64>,
    /// The provider's volume-weighted average prices; NaN where there is none.
    pub vwap: Vec<f64>,
}

/// Last values of the four indicators that this baseline knows; NaN where a symbol has too few bars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastValues {
    /// Mean of 5 closes.
    pub sma5: f64,
    /// Mean of 20 closes.
    pub sma20: f64,
    /// Wilder's strength index over 14 changes.
    pub rsi14: f64,
    /// Volume-weighted mean of 20 average prices, the typical price where a bar has none.
    pub vwap20: f64,
}

/// Copies every symbol's columns out of a panel.
#[must_use]
pub fn columns(panel: &Panel) -> Vec<Columns> {
    let (Some(first), Some(last)) = (panel.sessions().first(), panel.sessions().last()) else {
        return vec![Columns::default(); panel.symbols()];
    };
    let of = |id: usize| of_symbol(panel, SymbolId(u32::try_from(id).unwrap_or(u32::MAX)), *first, *last);
    (0..panel.symbols()).map(of).collect()
}

fn of_symbol(panel: &Panel, id: SymbolId, from: SessionDate, to: SessionDate) -> Columns {
    let mut series = panel.series(id, from, to);
    let mut take = |field: Field| std::mem::take(&mut series.columns[field.index()]);
    Columns {
        high: take(Field::High),
        low: take(Field::Low),
        close: take(Field::Close),
        volume: take(Field::Volume),
        vwap: take(Field::Vwap),
    }
}

/// The last values of every symbol, on `threads` threads.
#[must_use]
pub fn last_values(columns: &[Columns], threads: usize) -> Vec<LastValues> {
    let none = LastValues { sma5: f64::NAN, sma20: f64::NAN, rsi14: f64::NAN, vwap20: f64::NAN };
    let mut values = vec![none; columns.len()];
    let share = columns.len().div_ceil(threads.max(1)).max(1);
    let fill = |values: &mut [LastValues], columns: &[Columns]| {
        for (value, columns) in values.iter_mut().zip(columns) {
            *value = of_columns(columns);
        }
    };
    std::thread::scope(|scope| {
        let mut shares = values.chunks_mut(share).zip(columns.chunks(share));
        let mine = shares.next();
        for (values, columns) in shares {
            scope.spawn(|| fill(values, columns));
        }
        if let Some((values, columns)) = mine {
            fill(values, columns);
        }
    });
    values
}

fn of_columns(columns: &Columns) -> LastValues {
    let last = |series: Vec<f64>| series.last().copied().unwrap_or(f64::NAN);
    LastValues {
        sma5: last(sma(&columns.close, 5)),
        sma20: last(sma(&columns.close, 20)),
        rsi14: last(rsi(&columns.close, 14)),
        vwap20: last(vwap(columns, 20)),
    }
}

/// A running sum, as libraries keep one: add the new value, take the old one away.
fn sma(x: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; x.len()];
    let mut sum = 0.0;
    for (i, value) in x.iter().enumerate() {
        sum += value;
        if i >= n {
            sum -= x[i - n];
        }
        if i + 1 >= n {
            out[i] = sum / n as f64;
        }
    }
    out
}

fn rsi(x: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; x.len()];
    let (mut gain, mut loss) = (0.0, 0.0);
    let period = n as f64;
    for i in 1..x.len() {
        let change = x[i] - x[i - 1];
        let (up, down) = if change > 0.0 { (change, 0.0) } else { (0.0, -change) };
        if i <= n {
            gain += up / period;
            loss += down / period;
        } else {
            gain = (gain * (period - 1.0) + up) / period;
            loss = (loss * (period - 1.0) + down) / period;
        }
        if i >= n {
            let total = gain + loss;
            out[i] = if total == 0.0 { 0.0 } else { 100.0 * gain / total };
        }
    }
    out
}

fn vwap(columns: &Columns, n: usize) -> Vec<f64> {
    let Columns { high, low, close, volume, vwap } = columns;
    let mut out = vec![f64::NAN; close.len()];
    let price = |i: usize| if vwap[i].is_nan() { (high[i] + low[i] + close[i]) / 3.0 } else { vwap[i] };
    let (mut traded, mut shares) = (0.0, 0.0);
    for i in 0..close.len() {
        traded += price(i) * volume[i];
        shares += volume[i];
        if i >= n {
            traded -= price(i - n) * volume[i - n];
            shares -= volume[i - n];
        }
        if i + 1 >= n && shares != 0.0 {
            out[i] = traded / shares;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_definitions() {
        let close: Vec<f64> = (0..40).map(|i| 100.0 + f64::from(i % 7) - f64::from(i % 3)).collect();
        let columns = Columns {
            high: close.iter().map(|c| c + 1.0).collect(),
            low: close.iter().map(|c| c - 1.0).collect(),
            volume: (0..40).map(|i| 1000.0 + f64::from(i)).collect(),
            vwap: vec![f64::NAN; close.len()],
            close: close.clone(),
        };
        let value = last_values(&[columns.clone(), Columns::default()], 2);
        assert!((value[0].sma5 - close[35..].iter().sum::<f64>() / 5.0).abs() < 1e-12);
        let shares: f64 = columns.volume[20..].iter().sum();
        let traded: f64 = close[20..].iter().zip(&columns.volume[20..]).map(|(p, v)| p * v).sum();
        assert!((value[0].vwap20 - traded / shares).abs() < 1e-10);
        assert!(value[0].rsi14 > 0.0 && value[0].rsi14 < 100.0);
        assert!(value[1].sma5.is_nan() && value[1].rsi14.is_nan());
        let twice = [columns.clone(), columns];
        assert_eq!(last_values(&twice, 1), last_values(&twice, 3));
    }
}
