"""The file tier as operators and other programs see it: looked after beside a server and after a kill, exported to files that
pyarrow, DuckDB and NumPy read, held against the simulator's truth to the bit."""

import csv
import datetime
import json
import pathlib
import re
import shutil
import stat
import unittest

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from panscan_client import Panscan
from processes import BINARY, ROOT, Server, Sim, folder, run

SESSIONS = 40
FIELDS = ["open", "high", "low", "close", "volume", "vwap", "trades"]
FORMAT = ROOT / "crates/cache/FORMAT.md"


def bits(value) -> bytes | None:
    """A number as its bits; null and NaN are nothing."""
    return None if value is None or value != value else np.float64(value).tobytes()


def keyed(rows) -> dict:
    """Bits of each bar by symbol and session or start."""
    return {(row["symbol"], row["at"]): [bits(row[name]) for name in FIELDS] for row in rows}


def table_rows(table: pa.Table, column: str) -> list[dict]:
    rows = table.rename_columns(["at" if name == column else name for name in table.column_names]).to_pylist()
    assert rows
    return rows


def days(store: pathlib.Path) -> list[pathlib.Path]:
    return sorted(store.glob("v1/*/1d/days/*.pan"))


def blocks(store: pathlib.Path) -> list[pathlib.Path]:
    return list(store.glob("v1/**/*.pan"))


def answer(done) -> dict:
    return json.loads(done.stdout)


class Store(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "40", "--sessions", str(SESSIONS)))
        cls.place = cls.enterClassContext(folder())
        cls.store = cls.place / "store"
        cls.server = cls.enterClassContext(Server(cls.sim, cls.store, PANSCAN_HISTORY_DAILY=str(SESSIONS)))
        with Panscan(cls.server.target) as market:
            assert market.scan("", columns=["highest(high, 40)"], limit=100).summary.complete
        lines = [json.loads(line) for line in cls.sim.get("/_sim/truth?timeframe=1d").splitlines()]
        names = dict(zip(FIELDS, ["o", "h", "l", "c", "v", "vw", "n"]))
        cls.rows = [
            {"symbol": line["T"], "at": cls.session(line["t"])} | {to: line.get(of) for to, of in names.items()}
            for line in lines
        ]
        cls.truth = keyed(cls.rows)
        cls.minutes = sorted({row["symbol"] for row in cls.rows})[:2]
        done = run("fetch", *cls.minutes, "--timeframe", "1m", "--last", "800", "--server", cls.address(), "--quiet")
        assert done.returncode == 0, done.stderr

    @classmethod
    def address(cls) -> str:
        return "http://" + cls.server.target

    @staticmethod
    def session(milliseconds: int) -> datetime.date:
        return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc).date()

    def command(self, *words, code: int = 0, store: pathlib.Path | None = None):
        done = run("store", *words, "--store", store or self.store)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}\n{done.stderr}")
        return done

    def copy(self) -> pathlib.Path:
        """A copy of the store that nobody writes."""
        to = pathlib.Path(self.enterContext(folder())) / "copy"
        self.command("backup", "--to", to)
        return to

    def test_verify_and_stats_beside_a_server(self):
        report = answer(self.command("verify", "--json"))
        self.assertTrue(report["ok"])
        self.assertEqual((report["blocks"], report["damaged"], report["missing"]), (len(blocks(self.store)), [], []))
        counted = answer(self.command("stats", "--json"))
        self.assertEqual((counted["in_use"], counted["pid"]), (True, self.server.child.pid))
        by_timeframe = {held["timeframe"]: held for held in counted["holdings"]}
        self.assertEqual(by_timeframe["1d"]["sessions"], SESSIONS)
        self.assertEqual(by_timeframe["1m"]["symbols"], 2)
        self.assertEqual(by_timeframe["1d"]["last"], max(row["at"] for row in self.rows).isoformat())
        text = self.command("stats")
        self.assertIn(f"process {self.server.child.pid} writes it", text.stdout)
        self.assertIn("verifying", self.command("verify").stderr)

    def test_what_writes_is_refused_beside_a_server(self):
        for words in (["compact"], ["restore", "--from", self.copy()]):
            done = self.command(*words, code=9)
            self.assertIn(str(self.server.child.pid), done.stderr)

    def test_a_store_that_is_none_is_nine(self):
        for words in (["verify"], ["stats"], ["compact"], ["export", "--out", self.place / "x"]):
            self.assertIn("no store", self.command(*words, code=9, store=self.place / "nowhere").stderr)
        other = self.place / "later"
        (other / "v9").mkdir(parents=True)
        self.assertIn("layout v9", self.command("verify", code=9, store=other).stderr)

    def test_every_format_carries_the_truth(self):
        for form, read in (
            ("parquet", pq.read_table),
            ("arrow", lambda path: pa.ipc.open_file(path).read_all()),
            ("csv", pa.csv.read_csv),
        ):
            path = self.place / f"all.{form}"
            done = answer(self.command("export", "--out", path, "-o", form, "--json"))
            self.assertEqual(done["files"][0]["rows"], len(self.rows))
            table = read(path)
            self.assertEqual(table.column_names, ["symbol", "date", *FIELDS])
            self.assertEqual(keyed(table_rows(table, "date")), self.truth, form)
            self.assertTrue(stat.S_IMODE(path.stat().st_mode) & stat.S_IRGRP)
        with duckdb.connect() as database:
            for source in ("read_parquet", "read_csv"):
                path = self.place / f"all.{source.removeprefix('read_')}"
                query = f"select symbol, date as at, {', '.join(FIELDS)} from {source}('{path}')"
                result = database.execute(query)
                names = [column[0] for column in result.description]
                rows = [dict(zip(names, row)) for row in result.fetchall()]
                self.assertEqual(keyed(rows), self.truth, source)
            arrow = pa.ipc.open_file(self.place / "all.arrow").read_all()
            database.register("arrow", arrow)
            self.assertEqual(database.execute("select count(*), max(close) from arrow").fetchone(),
                             (len(self.rows), max(row["close"] for row in self.rows)))  # fmt: skip

    def test_symbols_sessions_and_minutes_are_chosen(self):
        path = self.place / "some.parquet"
        sessions = sorted({row["at"] for row in self.rows})[5:8]
        flags = ["--symbols", ",".join(self.minutes), "--from", sessions[0], "--to", sessions[-1]]
        self.command("export", "--out", path, *flags)
        wanted = {key: bar for key, bar in self.truth.items() if key[0] in self.minutes and key[1] in sessions}
        self.assertEqual(keyed(table_rows(pq.read_table(path), "date")), wanted)

        files = self.place / "files"
        self.command("export", "--out", f"{files}/", "-o", "arrow")
        self.assertEqual(sorted(path.name for path in files.iterdir()), ["1d.arrow", "1m.arrow"])
        bars = table_rows(pa.ipc.open_file(files / "1m.arrow").read_all(), "ts")
        truth = {}
        for symbol in self.minutes:
            for line in self.sim.get(f"/_sim/truth?timeframe=1m&symbol={symbol}").splitlines():
                line = json.loads(line)
                at = datetime.datetime.fromtimestamp(line["t"] / 1000, datetime.timezone.utc)
                truth[symbol, at] = [bits(line.get(name)) for name in ("o", "h", "l", "c", "v", "vw", "n")]
        self.assertGreaterEqual(len(bars), 1600)
        for row in bars:
            self.assertEqual([bits(row[name]) for name in FIELDS], truth[row["symbol"], row["at"]])
        self.assertIn("1m, 1d", self.command("export", "--out", path, "--timeframe", "5m", code=2).stderr)
        absent = self.command("export", "--out", path, "--symbols", f"{self.minutes[0]},NOSUCH")
        self.assertIn("NOSUCH", absent.stderr)

    def test_adjusted_prices_are_those_that_are_served(self):
        path = self.place / "adjusted.csv"
        self.command("export", "--out", path, "-o", "csv", "--adjustment", "splits")
        span = ["--from", min(row["at"] for row in self.rows), "--to", max(row["at"] for row in self.rows)]
        served = run("fetch", "--all", *span, "--adjustment", "splits", "-o", "csv", "--server", self.address())
        self.assertEqual(served.returncode, 0, served.stderr)
        names = FIELDS[:-1]
        ours = {(row["symbol"], row["date"]): [row[name] for name in names]
                for row in csv.DictReader(path.read_text().splitlines())}  # fmt: skip
        theirs = {(row["symbol"], row["time"][:10]): [row[name] for name in names]
                  for row in csv.DictReader(served.stdout.splitlines())}  # fmt: skip
        self.assertEqual(ours, theirs)

    def test_an_export_feeds_a_simulator(self):
        path = self.place / "again.parquet"
        self.command("export", "--out", path)
        with Sim("--data", path) as sim:
            lines = [json.loads(line) for line in sim.get("/_sim/truth?timeframe=1d").splitlines()]
            self.assertEqual(len(lines), len(self.rows))

    def test_the_documented_lines_of_numpy_read_a_block(self):
        text = FORMAT.read_text()
        code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
        definition = code.split("\nnames, keys")[0]
        lines = [line for line in definition.splitlines() if line.strip() and "import" not in line]
        self.assertLessEqual(len(lines), 10)
        known = {}
        exec(definition, known)  # what readers are told to write
        seen = 0
        for path in days(self.store):
            names, keys, tiles = known["read"](str(path))
            session = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(keys[0]))
            self.assertEqual(session.isoformat(), path.stem)
            self.assertEqual(tiles.ctypes.data % 8, 0)
            for i, name in enumerate(names):
                bar = [bits(float(tiles[i // 32, field, 0, i % 32])) for field in range(7)]
                self.assertEqual(bar, self.truth[name, session])
                seen += 1
        self.assertEqual(seen, len(self.truth))

    def test_damage_is_found_set_aside_and_fetched_again(self):
        store = self.copy()
        flipped, gone = days(store)[3], days(store)[7]
        data = bytearray(flipped.read_bytes())
        data[-900] ^= 4
        flipped.write_bytes(data)
        gone.unlink()
        report = answer(self.command("verify", "--json", code=4, store=store))
        self.assertEqual([file["path"] for file in report["damaged"]], [str(flipped)])
        self.assertEqual((report["ok"], report["missing"]), (False, [str(gone)]))
        left = self.command("export", "--out", self.place / "left.csv", "-o", "csv", code=4, store=store)
        self.assertIn(flipped.name, left.stderr)
        asked = self.sim.grouped()
        with Server(self.sim, store, PANSCAN_HISTORY_DAILY=str(SESSIONS)) as server, Panscan(server.target) as market:
            scan = market.scan("", columns=["highest(high, 40)"], limit=100)
            self.assertTrue(scan.summary.complete)
            self.assertEqual(self.sim.grouped() - asked, 2)
            server.kill()
        report = answer(self.command("verify", "--json", store=store))
        self.assertEqual((report["blocks"], len(report["set_aside"])), (len(blocks(self.store)), 1))
        # What a killed server left of its lock is in nobody's way.
        self.assertEqual(answer(self.command("stats", "--json", store=store))["in_use"], False)
        done = answer(self.command("compact", "--json", store=store))
        self.assertEqual(done["leftovers"], 1)
        path = self.place / "repaired.parquet"
        self.command("export", "--out", path, store=store)
        self.assertEqual(keyed(table_rows(pq.read_table(path), "date")), self.truth)

    def test_a_backup_is_restored_and_asks_for_nothing(self):
        saved, fresh = self.copy(), self.place / "fresh"
        self.command("restore", "--from", saved, store=fresh)
        asked = self.sim.grouped()
        with Server(self.sim, fresh, PANSCAN_HISTORY_DAILY=str(SESSIONS)) as server, Panscan(server.target) as market:
            self.assertTrue(market.scan("", columns=["highest(high, 40)"], limit=100).summary.complete)
        self.assertEqual(self.sim.grouped(), asked)
        self.command("backup", "--to", saved, code=9)
        days(saved)[0].write_bytes(b"x")
        broken = self.command("restore", "--from", saved, store=self.place / "other", code=9)
        self.assertIn("nothing was restored", broken.stderr)

    def test_a_full_disk_is_said_and_the_scan_still_answers(self):
        store, wrapper = self.place / "full", self.place / "small-files"
        # A limit on the size of files stands for the disk: every write of a block fails halfway through.
        wrapper.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 4\nexec '{BINARY}' \"$@\"\n")
        wrapper.chmod(0o755)
        # The catalog has room: a server whose database cannot write does not start.
        settings = {
            "PANSCAN_HISTORY_DAILY": str(SESSIONS),
            "PANSCAN_DATABASE_URL": "sqlite::memory:",
            "binary": str(wrapper),
        }
        with Server(self.sim, store, rate="unlimited", **settings) as server, Panscan(server.target) as market:
            scan = market.scan("", columns=["highest(high, 40)"], limit=100)
            self.assertTrue(scan.summary.complete)
            self.assertEqual(len(scan.symbols), 40)
            self.assertIn("free space", server.log())
            server.kill()
        self.assertEqual(days(store), [])
        self.assertTrue(answer(self.command("verify", "--json", store=store))["ok"])
        full = run("store", "export", "--out", self.place / "cut.csv", "-o", "csv", "--store", self.store,
                   binary=str(wrapper))  # fmt: skip
        self.assertEqual(full.returncode, 9, full.stderr)
        self.assertFalse((self.place / "cut.csv").exists())

    def test_a_disk_without_room_is_said_and_the_scan_still_answers(self):
        room = self.place / "room"
        room.mkdir()
        wrapper = self.place / "little-room"
        # A disk of 64 KiB that only this process and its children see.
        wrapper.write_text(
            f"#!/bin/sh\nexec unshare -rm sh -c 'mount -t tmpfs -o size=64k none \"{room}\" && exec \"{BINARY}\" \"$@\"' sh \"$@\"\n"
        )
        wrapper.chmod(0o755)
        if shutil.which("unshare") is None or run("--version", binary=str(wrapper)).returncode:
            self.skipTest("this system lets nobody mount a small disk")
        # The catalog has room: a server whose database cannot write does not start.
        settings = {
            "PANSCAN_HISTORY_DAILY": str(SESSIONS),
            "PANSCAN_DATABASE_URL": "sqlite::memory:",
            "binary": str(wrapper),
        }
        with Server(self.sim, room / "store", rate="unlimited", **settings) as server, Panscan(server.target) as market:
            self.assertTrue(market.scan("", columns=["highest(high, 40)"], limit=100).summary.complete)
            self.assertIn("No space left on device", server.log())
            seen = pathlib.Path(f"/proc/{server.child.pid}/root{room}/store")
            kept = days(seen)
            self.assertTrue(0 < len(kept) < SESSIONS)
            copy = self.place / "of-the-full-one"
            shutil.copytree(seen, copy)
        report = answer(self.command("verify", "--json", store=copy))
        self.assertEqual((report["ok"], report["blocks"]), (True, len(kept)))


if __name__ == "__main__":
    unittest.main()
