"""Minutes and what is made of them, over a real server: held against the simulator's truth and an own fold in Python."""

import csv
import datetime
import io
import json
import unittest
import zoneinfo

from panscan.v1 import market_data_pb2, market_data_pb2_grpc, types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder, run

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
RAW = types_pb2.ADJUSTMENT_RAW
SESSIONS = 40


def folded(rows: list[dict], minutes: int) -> list[tuple]:
    """Start, open, high, low, close, volume and trades of each window, counted from midnight in New York."""
    windows: dict[int, list[dict]] = {}
    for row in rows:
        local = datetime.datetime.fromtimestamp(row["t"] / 1000, NEW_YORK)
        since = local.hour * 60 + local.minute
        windows.setdefault(row["t"] - since % minutes * 60_000, []).append(row)
    bars = []
    for start, parts in sorted(windows.items()):
        high, low = max(part["h"] for part in parts), min(part["l"] for part in parts)
        volume = parts[0]["v"]
        for part in parts[1:]:
            volume += part["v"]
        trades = sum(part.get("n", 0) for part in parts)
        bars.append((start, parts[0]["o"], high, low, parts[-1]["c"], float(volume), trades))
    return bars


def columns(bars) -> list[tuple]:
    series = (bars.start_time_ms, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.trades)
    return list(zip(*series, strict=True))


class Minutes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "30", "--sessions", str(SESSIONS)))
        cls.store = cls.enterClassContext(folder())
        cls.server = cls.enterClassContext(Server(cls.sim, cls.store, PANSCAN_HISTORY_DAILY="20"))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))
        cls.stub = market_data_pb2_grpc.MarketDataStub(cls.market.channel)
        lines = cls.sim.get("/_sim/truth?timeframe=1d").splitlines()
        cls.symbols = sorted({json.loads(line)["T"] for line in lines})[:4]

    def truth(self, symbol: str) -> list[dict]:
        text = self.sim.get(f"/_sim/truth?timeframe=1m&symbol={symbol}")
        return [json.loads(line) for line in text.splitlines()]

    def batch(self, timeframe: str, **fields):
        request = market_data_pb2.BatchGetBarsRequest(
            symbols=self.symbols, timeframe=timeframe, adjustment=RAW, limit=50_000, **fields
        )
        request.range.start_date = "2025-10-01"
        found, summary = {}, None
        for message in self.stub.BatchGetBars(request, timeout=120):
            if message.WhichOneof("frame") == "bars":
                self.assertEqual(message.bars.provider, "polygon")
                self.assertEqual(message.bars.timeframe, timeframe)
                found.setdefault(message.bars.symbol, []).extend(columns(message.bars))
            elif message.WhichOneof("frame") == "summary":
                summary = message.summary
        self.assertTrue(summary.complete)
        return found, summary

    def test_minutes_are_the_truth_and_longer_bars_are_their_fold(self):
        minutes, _ = self.batch("1m")
        before = self.sim.audit()["total"]
        for symbol in self.symbols:
            self.assertEqual(minutes[symbol], folded(self.truth(symbol), 1), symbol)
        for timeframe, length in (("5m", 5), ("30m", 30), ("1h", 60), ("4h", 240)):
            found, summary = self.batch(timeframe, ordered=True)
            self.assertEqual(list(found), self.symbols)
            self.assertEqual(summary.provider_calls, 0)
            for symbol in self.symbols:
                self.assertEqual(found[symbol], folded(self.truth(symbol), length), f"{symbol} {timeframe}")
        self.assertEqual(self.sim.audit()["total"], before)

    def test_pages_of_one_symbol_join_without_a_seam(self):
        symbol, token, rows = self.symbols[0], "", []
        while True:
            request = market_data_pb2.GetBarsRequest(
                symbol=symbol, timeframe="15m", adjustment=RAW, page_size=100, page_token=token
            )
            request.range.last = 450
            page = self.stub.GetBars(request, timeout=60)
            rows += columns(page.bars)
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(rows, folded(self.truth(symbol), 15)[-450:])

    def test_weeks_are_made_of_days(self):
        days, _ = self.batch("1d")
        weeks, _ = self.batch("1w")
        for symbol in self.symbols:
            sums: dict[int, float] = {}
            for row in days[symbol]:
                day = datetime.datetime.fromtimestamp(row[0] / 1000, NEW_YORK)
                monday = day - datetime.timedelta(days=day.weekday())
                sums[int(monday.timestamp() * 1000)] = sums.get(int(monday.timestamp() * 1000), 0.0) + row[5]
            self.assertEqual([(row[0], row[5]) for row in weeks[symbol]], sorted(sums.items()), symbol)

    def test_the_command_line_fetches_them(self):
        symbol = self.symbols[1]
        done = run("fetch", "--timeframe", "5m", symbol, "--last", "80", "--adjustment", "raw", "-o", "csv",
                   PANSCAN_SERVER=f"http://{self.server.target}")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        want = folded(self.truth(symbol), 5)[-80:]
        self.assertEqual([float(row["close"]) for row in rows], [bar[4] for bar in want])
        self.assertEqual([float(row["volume"]) for row in rows], [bar[5] for bar in want])


if __name__ == "__main__":
    unittest.main()
