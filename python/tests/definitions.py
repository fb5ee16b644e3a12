"""Bars from their source and indicators from their definitions, in NumPy and apart from panscan's own code."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

COLUMNS = ["sma(5)", "sma(20)", "rsi(14)", "vwap(20)"]


@dataclass
class Bars:
    """One symbol's bars, ascending; vwap is NaN where the source has none."""

    date: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    vwap: np.ndarray

    def __len__(self) -> int:
        return len(self.close)

    def take(self, which) -> "Bars":
        return Bars(*(values[which] for values in vars(self).values()))

    def valid(self) -> "Bars":
        """Without the bars that the contract quarantines."""
        prices = np.stack([self.open, self.high, self.low, self.close])
        good = (np.isfinite(prices) & (prices > 0)).all(axis=0) & np.isfinite(self.volume) & (self.volume >= 0)
        good &= (self.high >= self.low) & (self.open >= self.low) & (self.open <= self.high)
        good &= (self.close >= self.low) & (self.close <= self.high)
        return self.take(good)

    def adjusted(self, splits: list[tuple[np.datetime64, float]]) -> "Bars":
        """With bars before each split in terms of the shares after it; a split is (date, new shares per old)."""
        factor = np.ones(len(self))
        for date, ratio in splits:
            factor = np.where(self.date < date, factor * ratio, factor)
        prices = [values / factor for values in (self.open, self.high, self.low, self.close)]
        return Bars(self.date, *prices, self.volume * factor, self.vwap / factor)


def from_parquet(path) -> dict[str, Bars]:
    """Bars by symbol from a file that is sorted by symbol and date."""
    table = pq.read_table(path)
    names = table.column("symbol").cast("string").to_numpy(zero_copy_only=False)
    date = table.column("date").to_numpy().astype("datetime64[D]")
    values = [table.column(name).to_numpy().astype(np.float64) for name in ("open", "high", "low", "close", "volume")]
    whole = Bars(date, *values, np.full(len(names), np.nan))
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    ends = np.append(starts[1:], len(names))
    bars = {}
    for start, end in zip(starts, ends):
        own = whole.take(slice(start, end))
        bars[names[start]] = own.take(np.argsort(own.date, kind="stable"))
    return bars


def from_truth(lines: bytes) -> dict[str, Bars]:
    """Bars by symbol from what the simulator says is true (NDJSON)."""
    rows: dict[str, list] = {}
    for line in lines.splitlines():
        bar = json.loads(line)
        # a session starts at midnight in New York, which is 4 or 5 hours into the same day in UTC
        date = np.datetime64(bar["t"] // 1000, "s").astype("datetime64[D]")
        values = [bar.get(name, np.nan) for name in ("o", "h", "l", "c", "v", "vw")]
        rows.setdefault(bar["T"], []).append((date, values))
    bars = {}
    for symbol, own in rows.items():
        values = np.array([value for _, value in own], dtype=np.float64)
        bars[symbol] = Bars(np.array([date for date, _ in own]), *values.T)
    return bars


def sma(values: np.ndarray, n: int) -> float:
    return float(np.mean(values[-n:])) if len(values) >= n else np.nan


def ema(values: np.ndarray, n: int) -> float:
    if len(values) < n:
        return np.nan
    value = np.mean(values[:n])
    for x in values[n:]:
        value += 2.0 / (n + 1.0) * (x - value)
    return float(value)


def rsi(close: np.ndarray, n: int) -> float:
    if len(close) < n + 1:
        return np.nan
    change = np.diff(close)
    gains, losses = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    gain, loss = gains[:n].mean(), losses[:n].mean()
    for up, down in zip(gains[n:], losses[n:]):
        gain = (gain * (n - 1) + up) / n
        loss = (loss * (n - 1) + down) / n
    return float(100.0 * gain / (gain + loss)) if gain + loss > 0 else 0.0


def stddev(values: np.ndarray, n: int) -> float:
    return float(np.std(values[-n:])) if len(values) >= n else np.nan


def vwap(bars: Bars, n: int) -> float:
    if len(bars) < n:
        return np.nan
    last = bars.take(slice(-n, None))
    price = np.where(np.isnan(last.vwap), (last.high + last.low + last.close) / 3.0, last.vwap)
    shares = last.volume.sum()
    return float((price * last.volume).sum() / shares) if shares > 0 else np.nan


def expected(bars: dict[str, Bars]) -> dict[str, list[float]]:
    """The values of COLUMNS for each symbol, NaN for null."""
    values = {}
    for symbol, own in bars.items():
        own = own.valid()
        values[symbol] = [sma(own.close, 5), sma(own.close, 20), rsi(own.close, 14), vwap(own, 20)]
    return values


def disagreements(scan, values: dict[str, list[float]], columns=None, tolerance: float = 1e-9) -> list[str]:
    """Where a scan and the expected values differ: another null, or further apart than the relative tolerance."""
    wrong = []
    for at, column in enumerate(columns or COLUMNS):
        name = scan.header.columns[at].name
        for symbol, got in zip(scan.symbols, scan.column(name)):
            want = values[symbol][at]
            both_null = np.isnan(got) and np.isnan(want)
            if not both_null and not abs(got - want) <= tolerance * max(abs(got), abs(want), 1e-300):
                wrong.append(f"{symbol} {column}: got {got!r}, expected {want!r}")
    return wrong
