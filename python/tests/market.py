"""The end-to-end tests that every market must pass; the files beside this one say which market."""

import threading
import time

import grpc
import numpy as np
from definitions import COLUMNS, disagreements, expected
from panscan.v1 import admin_pb2, admin_pb2_grpc, market_data_pb2, market_data_pb2_grpc, types_pb2
from panscan.v1 import universes_pb2, universes_pb2_grpc
from panscan_client import BrokenStream, Panscan
from processes import Server, Sim, folder, until

ALL = 50_000
# Market days that may be under way when a server is killed: its fetch jobs at once.
IN_FLIGHT = 12
# What it may take to learn where a market begins: the days before it that are asked for, each twice, before one is believed.
BEGINNING = 24


class Market:
    """A market and what its scans must give. Subclasses set `simulated`, `served` and `bars()`."""

    simulated: list[str]
    served: list[str] = []
    settings: dict[str, str] = {}
    sessions = 252

    @classmethod
    def bars(cls, sim):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", *cls.simulated))
        cls.store = cls.enterClassContext(folder())
        cls.server = cls.enterClassContext(Server(cls.sim, cls.store, *cls.served, **cls.settings))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))
        cls.raw = cls.bars(cls.sim)
        cls.values = expected(cls.raw)
        cls.cold = cls.scan()
        cls.cold_audit, cls.cold_days = cls.sim.audit(), cls.sim.grouped()

    @classmethod
    def scan(cls, form="columns", **fields):
        fields = {"columns": COLUMNS, "limit": ALL, "adjustment": types_pb2.ADJUSTMENT_RAW, "timeout": 300} | fields
        return cls.market.scan(form=form, **fields)

    def agree(self, scan, values=None):
        wrong = disagreements(scan, values or self.values)
        self.assertEqual(wrong[:10], [], f"{len(wrong)} values disagree")

    def test_every_symbol_agrees_with_numpy(self):
        self.assertEqual(set(self.cold.symbols), set(self.values))
        self.agree(self.cold)
        for at, column in enumerate(self.cold.header.columns):
            held = np.isfinite(self.cold.column(column.name)).sum()
            self.assertGreater(held, len(self.values) // 2, f"{COLUMNS[at]} is null nearly everywhere")

    def test_the_cold_scan_says_what_it_did(self):
        summary = self.cold.summary
        self.assertEqual(shortfalls(self.cold), [])
        self.assertEqual(summary.scanned, len(self.values))
        self.assertEqual(summary.matched + sum(summary.excluded.values()), summary.scanned)
        self.assertEqual(summary.returned, len(self.cold.symbols))
        self.assertGreater(summary.provider_calls, 0)
        self.assertLessEqual(summary.provider_calls, 310)
        header = self.cold.header
        self.assertEqual([column.lookback for column in header.columns], [4, 19, 14, 19])
        self.assertTrue(header.snapshot_id and header.scan_id and header.fingerprint)
        self.assertEqual(header.backend, types_pb2.BACKEND_CPU)

    def test_the_limit_holds_and_every_day_is_asked_for_once(self):
        self.assertEqual(self.cold_audit["violations"], 0, self.cold_audit)
        self.assertGreaterEqual(self.cold_days, self.sessions)
        self.assertLessEqual(self.cold_days, self.sessions + BEGINNING, self.cold_audit)
        self.assertLessEqual(self.cold_audit["total"], 310)

    def test_a_warm_scan_makes_no_provider_call(self):
        before = self.sim.audit()["total"]
        warm = self.scan()
        self.assertEqual(warm.summary.provider_calls, 0)
        self.assertEqual(self.sim.audit()["total"], before)
        self.assertEqual(warm.header.snapshot_id, self.cold.header.snapshot_id)
        self.assertEqual(warm.header.fingerprint, self.cold.header.fingerprint)
        self.assertEqual(warm.cells, self.cold.cells)

    def test_the_three_formats_carry_the_same_cells(self):
        ranks = list(range(1, len(self.values) + 1))
        for form in ("rows", "columns", "arrow"):
            for batch_rows in (0, 1000):
                with self.subTest(form=form, batch_rows=batch_rows):
                    scan = self.scan(form, batch_rows=batch_rows)
                    self.assertEqual(scan.ranks, ranks)
                    self.assertEqual(scan.symbols, self.cold.symbols)
                    self.assertEqual(scan.cells, self.cold.cells)
                    self.assertEqual(scan.batches, -(-len(ranks) // (batch_rows or 256)))

    def test_an_arrow_table_says_what_it_is_of(self):
        table = self.market.table(columns=COLUMNS, limit=ALL, adjustment=types_pb2.ADJUSTMENT_RAW, timeout=60)
        names = [column.name for column in self.cold.header.columns]
        self.assertEqual(table.column_names, ["rank", "symbol", *names])
        self.assertEqual(table["rank"].to_pylist(), self.cold.ranks)
        metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
        self.assertEqual(metadata["snapshot_id"], self.cold.header.snapshot_id)
        self.assertEqual(metadata["fingerprint"], self.cold.header.fingerprint)

    def test_without_a_rank_expression_symbols_order_the_rows(self):
        self.assertEqual(self.cold.symbols, sorted(self.cold.symbols))

    def test_rank_filter_and_limit(self):
        scan = self.scan(columns=["close", "sma(20)"], filter="close > sma(20)", rank_by="close / sma(20)", limit=50)
        last = {symbol: own.valid() for symbol, own in self.raw.items()}
        ratio = {s: b.close[-1] / self.values[s][1] for s, b in last.items() if len(b) >= 20}
        matched = {symbol: value for symbol, value in ratio.items() if value > 1.0}
        self.assertAlmostEqual(scan.summary.matched, len(matched), delta=2)
        self.assertEqual(scan.summary.excluded["filter_null"], sum(1 for b in last.values() if len(b) < 20))
        got = scan.column("close") / scan.column(scan.header.columns[1].name)
        self.assertTrue((np.diff(got) <= 1e-12 * got[:-1]).all(), "rows do not fall")
        best = sorted(matched.values(), reverse=True)[: len(got)]
        np.testing.assert_allclose(got, best, rtol=1e-9)

    def test_pages_continue_the_ranks(self):
        symbols, ranks, token = [], [], ""
        for _ in range(3):
            page = self.scan(limit=100, page_token=token)
            symbols += page.symbols
            ranks += page.ranks
            token = page.summary.next_page_token
            if not token:
                break
        wanted = min(300, len(self.cold.symbols))
        self.assertEqual(ranks, list(range(1, wanted + 1)))
        self.assertEqual(symbols, self.cold.symbols[:wanted])

    def test_bars_come_back_bit_for_bit(self):
        stub = market_data_pb2_grpc.MarketDataStub(self.market.channel)
        longest = max(self.raw, key=lambda symbol: len(self.raw[symbol]))
        for symbol in (longest, min(self.raw), max(self.raw)):
            own = self.raw[symbol].valid()
            request = market_data_pb2.GetBarsRequest(
                symbol=symbol, adjustment=types_pb2.ADJUSTMENT_RAW, range=types_pb2.BarRange(last=len(own))
            )
            bars = stub.GetBars(request, timeout=60).bars
            for name in ("open", "high", "low", "close", "volume"):
                self.assertEqual(list(getattr(bars, name)), list(getattr(own, name)), f"{symbol} {name}")
            self.assertEqual(len(bars.start_time_ms), len(own))

    def test_symbols_are_listed(self):
        stub = universes_pb2_grpc.UniversesStub(self.market.channel)
        seen, token = [], ""
        while True:
            request = universes_pb2.ListSymbolsRequest(
                parent="universes/default", page_size=1000, page_token=token, order_by="symbol"
            )
            page = stub.ListSymbols(request, timeout=60)
            seen += [symbol.symbol for symbol in page.symbols]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, sorted(self.values))
        self.assertEqual(page.total_size, len(self.values))

    def test_stats(self):
        stub = admin_pb2_grpc.AdminStub(self.market.channel)
        stats = stub.GetStats(admin_pb2.GetStatsRequest(), timeout=60)
        self.assertEqual(stats.snapshot_id, self.cold.header.snapshot_id)
        self.assertGreaterEqual(sum(provider.calls for provider in stats.providers), self.cold.summary.provider_calls)

    def test_a_second_server_on_the_store_asks_for_no_bars(self):
        # the store belongs to one server at a time: this one gets a copy of a server that ended well
        with folder() as store:
            with Server(self.sim, store, *self.served, **self.settings) as first, Panscan(first.target) as market:
                market.scan(columns=COLUMNS, limit=ALL, timeout=300)
                self.assertEqual(first.terminate(), 0, first.log())
            before = self.sim.grouped()
            with Server(self.sim, store, *self.served, **self.settings) as again, Panscan(again.target) as market:
                scan = market.scan(
                    columns=COLUMNS, limit=ALL, timeout=300, adjustment=types_pb2.ADJUSTMENT_RAW
                )
                self.assertEqual(self.sim.grouped(), before)
                self.assertEqual(shortfalls(scan), [])
                self.agree(scan)


class KilledMidway:
    """kill -9 in the middle of a cold fetch; mixed with a market."""

    simulated: list[str]
    served: list[str] = []
    settings: dict[str, str] = {}
    sessions = 252

    def test_nothing_is_lost_and_nothing_is_fetched_twice(self):
        with folder() as store, Sim("--rate", "50/s", *self.simulated) as sim:
            values = expected(self.bars(sim))
            with Server(sim, store, *self.served, rate="50/s", **self.settings) as server:
                outcome = []

                def scan():
                    try:
                        with Panscan(server.target) as market:
                            outcome.append(market.scan(columns=COLUMNS, limit=ALL, timeout=300))
                    except (grpc.RpcError, BrokenStream) as fault:
                        outcome.append(fault)

                asking = threading.Thread(target=scan)
                asking.start()
                until(lambda: sim.grouped() >= 100, "a part of the cold fetch")
                server.kill()
                asking.join(30)
            self.assertIsInstance(outcome[0], grpc.RpcError, "the scan must be cut off by the kill")
            # a new process does not know what the killed one spent of the window; sim and server count seconds
            before = settled(sim.grouped, seconds=1.1)
            self.assertLess(before, self.sessions, "the fetch was over before the kill")
            with Server(sim, store, *self.served, rate="50/s", **self.settings) as server:
                with Panscan(server.target) as market:
                    scan = market.scan(
                        columns=COLUMNS, limit=ALL, timeout=300, adjustment=types_pb2.ADJUSTMENT_RAW
                    )
            after = sim.grouped()
            print(f"grouped days: {before} before the kill, {after} in all", flush=True)
            self.assertEqual(shortfalls(scan), [])
            self.assertLessEqual(after, self.sessions + BEGINNING + IN_FLIGHT)
            self.assertEqual(sim.audit()["violations"], 0)
            wrong = disagreements(scan, values)
            self.assertEqual(wrong[:10], [])
            self.assertEqual(len(scan.symbols), len(values))


def told(scan) -> list[str]:
    """A scan's diagnostics, a line each."""
    return [f"{found.reason} {found.count} {found.message} {list(found.symbols[:3])}" for found in scan.diagnostics]


def shortfalls(scan) -> list[str]:
    """What a scan says it lacks. Symbols that stopped trading have old bars, which is no lack of data."""
    lacks = {"SYMBOL_UNKNOWN", "SYMBOL_FETCH_FAILED", "SYMBOL_NO_BARS", "DEADLINE_PARTIAL", "RATE_BUDGET_PARTIAL"}
    if scan.summary.complete or ("STALE_DATA" in scan.reasons() and not scan.reasons() & lacks):
        return []
    return told(scan) or ["not complete, and no diagnostic says why"]


def settled(count, seconds: float = 0.7):
    """A counter's value once it has stood still for that long, and that value again later."""
    last, since = count(), time.monotonic()
    end = since + 30
    while time.monotonic() < end:
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= seconds:
            return last
        time.sleep(0.05)
    raise AssertionError("the counter never stood still")
