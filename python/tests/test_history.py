"""One scan as of every session of a range: each is the scan as of that session's end, whatever form it comes in."""

import csv
import datetime
import io
import json
import subprocess
import unittest

import grpc
import pyarrow as pa
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from panscan_client import Panscan
from processes import BINARY, Server, Sim, environment, folder, run

COLUMNS = ["close", "rsi(14)", "place = rank(roc(5), by=sector)", "sector", "up = close > sma(20)", "days_listed"]
RANGE = ("2025-10-01", "2025-12-31")


def ended(date: str) -> datetime.datetime:
    """An instant at which the session of a day had ended and the next had not."""
    return datetime.datetime.fromisoformat(date + "T23:30:00+00:00")


def refusal(fault: grpc.RpcError) -> tuple[str, str]:
    """Reason and field of the first thing that is wrong with a request."""
    found = {packed.type_url.rsplit(".", 1)[-1]: packed for packed in rpc_status.from_call(fault).details}
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    found["ErrorInfo"].Unpack(info)
    found["BadRequest"].Unpack(request)
    return info.reason, request.field_violations[0].field


class Past(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "60", "--sessions", "160"))
        cls.store = cls.enterClassContext(folder())
        cls.server = cls.enterClassContext(Server(cls.sim, cls.store, PANSCAN_HISTORY_DAILY="60"))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))
        cls.fields = {"columns": COLUMNS, "rank_by": "roc(5)", "limit": 25}
        cls.whole = cls.market.history(*RANGE, "close > 1", **cls.fields)

    def test_every_session_is_the_scan_as_of_its_end(self):
        self.assertTrue(self.whole.summary.complete)
        self.assertEqual(len(self.whole.sessions), 64)
        self.assertFalse(self.whole.header.point_in_time)
        self.assertIn("UNIVERSE_NOT_POINT_IN_TIME", self.whole.reasons())
        for date in list(self.whole.sessions)[::7] + [RANGE[1]]:
            scan = self.market.scan("close > 1", as_of=ended(date), **self.fields)
            past, last = self.whole.sessions[date], self.whole.last[date]
            self.assertEqual((past.ranks, past.symbols, past.cells), (scan.ranks, scan.symbols, scan.cells), date)
            self.assertEqual((last.matched, last.scanned), (scan.summary.matched, scan.summary.scanned), date)
            self.assertEqual(dict(last.excluded), dict(scan.summary.excluded), date)
            self.assertTrue(last.complete)
        sums = [sum(getattr(last, field) for last in self.whole.last.values()) for field in ("matched", "scanned")]
        self.assertEqual(sums, [self.whole.summary.matched, self.whole.summary.scanned])
        self.assertEqual(sum(len(s.symbols) for s in self.whole.sessions.values()), self.whole.summary.returned)

    def test_every_form_has_the_same_cells_and_a_warm_range_asks_for_nothing(self):
        before = self.sim.audit()["total"]
        for form in ("rows", "columns", "arrow"):
            again = self.market.history(*RANGE, "close > 1", form=form, step=3, **self.fields)
            self.assertEqual(list(again.sessions), list(self.whole.sessions)[::3], form)
            for date, scan in again.sessions.items():
                expected = self.whole.sessions[date]
                self.assertEqual((scan.ranks, scan.symbols), (expected.ranks, expected.symbols), (form, date))
                self.assertEqual(scan.cells, expected.cells, (form, date))
        self.assertEqual(self.sim.audit()["total"], before)

    def test_sessions_arrive_one_by_one_and_a_reader_may_leave(self):
        stream = self.market.past(*RANGE, **self.fields)
        kinds = [next(stream).WhichOneof("frame") for _ in range(3)]
        self.assertEqual(kinds[0], "header")
        stream.cancel()
        self.assertTrue(self.market.scan(limit=1).summary.complete)

    def test_a_range_that_cannot_be_is_refused(self):
        for start, end, fields, field, reason in [
            ("2025-12-31", "2025-12-30", {}, "end_date", "OUT_OF_RANGE"),
            ("2025-12-27", "2025-12-28", {}, "start_date", "OUT_OF_RANGE"),
            ("2010-01-04", "2025-12-31", {}, "end_date", "OUT_OF_RANGE"),
            ("", "2025-12-31", {}, "start_date", "MISSING"),
            ("2025-12-30", "tomorrow", {}, "end_date", "INVALID_DATE"),
            ("2025-12-30", "2025-12-31", {"step": -1}, "step", "OUT_OF_RANGE"),
            ("2025-12-30", "2026-02-02", {}, "end_date", "INVALID_FIELD"),
        ]:
            with self.subTest(start=start, end=end), self.assertRaises(grpc.RpcError) as caught:
                self.market.history(start, end, **fields)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertEqual(refusal(caught.exception), (reason, field))
        with self.assertRaises(grpc.RpcError) as caught:
            self.market.history(*RANGE, "smaa(20) > 1")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_the_command_line_writes_every_form(self):
        line = ["scan", "close > 1", "--server", "http://" + self.server.target, "-n", "3", "-c", "close"]
        line += ["--history", "2025-12-22..2025-12-31/2", "--quiet"]
        days = [date for date in self.whole.sessions if date >= "2025-12-22"][::2]
        documents = {}
        for form in ("table", "ndjson", "json", "csv"):
            output = run(*line, "-o", form)
            self.assertEqual((output.returncode, output.stderr), (0, ""), form)
            documents[form] = output.stdout
        rows = [json.loads(text) for text in documents["ndjson"].splitlines()]
        self.assertEqual([row["session"] for row in rows], [day for day in days for _ in range(3)])
        self.assertEqual([row["rank"] for row in rows], [1, 2, 3] * len(days))
        document = json.loads(documents["json"])
        self.assertEqual((document["rows"], document["summary"]["sessions"]), (rows, len(days)))
        read = list(csv.DictReader(io.StringIO(documents["csv"])))
        self.assertEqual([(row["session"], row["symbol"]) for row in read], [(r["session"], r["symbol"]) for r in rows])
        self.assertEqual(len(documents["table"].splitlines()), 2 + len(rows))
        with folder() as place:
            path = place / "past.arrow"
            with path.open("wb") as out:
                subprocess.run([BINARY, *line, "-o", "arrow"], stdout=out, env=environment({}), timeout=120, check=True)
            with pa.ipc.open_stream(path.read_bytes()) as reader:
                self.assertEqual(reader.read_all().to_pylist(), rows)
        self.assertEqual(run("scan", "--history", "2025-12-22").returncode, 2)
        wrong = run(*line[:-3], "--history", "2025-12-31..2025-12-22")
        self.assertEqual(wrong.returncode, 3, wrong.stderr)


if __name__ == "__main__":
    unittest.main()
