"""Saved scans, named universes and statistics of groups, through the client written from the .proto files."""

import json
import threading
import unittest

import grpc
import numpy as np
from google.protobuf import field_mask_pb2
from panscan.v1 import scanner_pb2, types_pb2, universes_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder, run
from test_contract import details

LIMIT = 50_000


class Saved(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.store = cls.enterClassContext(folder())
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "80", "--sessions", "60"))
        with Server(cls.sim, cls.store, PANSCAN_HISTORY_DAILY="60") as first, Panscan(first.target) as market:
            symbols = market.scan(limit=LIMIT).symbols
        # the provider tells a symbol's sector in one call each; a file tells all of them
        sectors = ["Energy", "Utilities", "Health Care", ""]
        rows = [f"{symbol},{sectors[at % 4]},{(at % 7) * 1e9}\n" for at, symbol in enumerate(symbols)]
        file = cls.store / "attributes.csv"
        file.write_text("symbol,sector,market_cap\n" + "".join(rows))
        arguments = ("--universe", str(file))
        server = Server(cls.sim, cls.store, *arguments, PANSCAN_HISTORY_DAILY="60")
        cls.server = cls.enterClassContext(server)
        cls.market = cls.enterClassContext(Panscan(cls.server.target))

    def refused(self, code, reason, call) -> dict[str, list]:
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        fault = caught.exception
        self.assertEqual(fault.code(), code, fault.details())
        found = details(fault)
        self.assertEqual(found["google.rpc.ErrorInfo"][0].reason, reason, fault.details())
        return found

    def test_a_saved_scan_is_run_and_overridden(self):
        made = self.market.save("cheap", "close > 0", columns=["close", "volume"], rank_by="-close", limit=7)
        self.assertEqual((made.name, made.scan.limit, made.owner), ("scans/cheap", 7, ""))
        self.assertEqual(made.create_time, made.update_time)
        plain = self.market.scan("close > 0", columns=["close", "volume"], rank_by="-close", limit=7)
        again = self.market.scan(saved_scan="scans/cheap")
        self.assertEqual((again.symbols, again.cells), (plain.symbols, plain.cells))
        self.assertEqual(again.header.fingerprint, plain.header.fingerprint)
        three = self.market.scan(saved_scan="scans/cheap", limit=3, columns=["open"])
        self.assertEqual((three.symbols, list(three.cells)), (plain.symbols[:3], ["open"]))
        first = self.market.scan(saved_scan="scans/cheap", limit=40)
        second = self.market.scan(saved_scan="scans/cheap", limit=40, page_token=first.summary.next_page_token)
        self.assertEqual(len(set(first.symbols + second.symbols)), 80, "pages of a saved scan")
        stub = self.market.scanner
        plan = stub.ExplainScan(scanner_pb2.ExplainScanRequest(saved_scan="scans/cheap"))
        self.assertEqual(plan.header.fingerprint, plain.header.fingerprint)
        valid = stub.ValidateScan(scanner_pb2.ValidateScanRequest(saved_scan="scans/cheap"))
        self.assertTrue(valid.valid)
        found = self.refused(
            grpc.StatusCode.NOT_FOUND, "NOT_FOUND", lambda: self.market.scan(saved_scan="scans/nothing")
        )
        [resource] = found["google.rpc.ResourceInfo"]
        self.assertEqual((resource.resource_type, resource.resource_name), ("panscan.v1.SavedScan", "scans/nothing"))

    def test_what_is_wrong_is_refused_and_nothing_is_kept(self):
        save = self.market.save
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        for name in ["", "Dips", "1a", "a_b", "x" * 64]:
            self.refused(invalid, "INVALID_NAME", lambda name=name: save(name))
        self.refused(invalid, "RESERVED_NAME", lambda: save("preset-mine"))
        found = self.refused(invalid, "UNKNOWN_FUNCTION", lambda: save("wrong", "smaa(20) > 1", limit=-1))
        [error] = found["panscan.v1.ExpressionError"][:1]
        self.assertEqual((error.field, error.suggestion), ("saved_scan.scan.filter", "sma"))
        fields = [v.field for v in found["google.rpc.BadRequest"][0].field_violations]
        self.assertEqual(fields, ["saved_scan.scan.filter", "saved_scan.scan.limit"])
        self.assertNotIn("scans/wrong", [saved.name for saved in self.market.saved()])
        only = scanner_pb2.CreateSavedScanRequest(saved_scan_id="only-checked", validate_only=True)
        self.assertEqual(self.market.scanner.CreateSavedScan(only).etag, "")
        self.assertNotIn("scans/only-checked", [saved.name for saved in self.market.saved()])
        save("twice")
        exists = self.refused(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", lambda: save("twice"))
        self.assertEqual(exists["google.rpc.ResourceInfo"][0].resource_name, "scans/twice")

    def test_updates_name_their_etag_and_only_one_of_two_writers_wins(self):
        stub = self.market.scanner
        made = self.market.save("shared", "close > 1", description="first")

        def update(saved, *paths):
            mask = field_mask_pb2.FieldMask(paths=paths)
            return stub.UpdateSavedScan(scanner_pb2.UpdateSavedScanRequest(saved_scan=saved, update_mask=mask))

        changed = scanner_pb2.SavedScan()
        changed.CopyFrom(made)
        changed.description, changed.scan.filter = "second", "close > 2"
        second = update(changed, "description")
        self.assertEqual((second.description, second.scan.filter), ("second", "close > 1"))
        self.assertNotEqual(second.etag, made.etag)
        self.refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", lambda: update(changed, "scan"))
        changed.etag = ""
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "MISSING_ETAG", lambda: update(changed, "scan"))
        changed.etag = second.etag
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_PATH", lambda: update(changed, "scan.filter"))

        outcomes = []

        def write(text):
            mine = scanner_pb2.SavedScan(name="scans/shared", etag=second.etag, description=text)
            try:
                outcomes.append(update(mine).description)
            except grpc.RpcError as fault:
                outcomes.append(fault.code())

        writers = [threading.Thread(target=write, args=(f"writer {n}",)) for n in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        won = [outcome for outcome in outcomes if isinstance(outcome, str)]
        self.assertEqual((len(won), outcomes.count(grpc.StatusCode.ABORTED)), (1, 5), outcomes)
        now = stub.GetSavedScan(scanner_pb2.GetSavedScanRequest(name="scans/shared"))
        self.assertEqual((now.description, now.scan.filter), (won[0], "close > 1"))

        old = scanner_pb2.DeleteSavedScanRequest(name="scans/shared", etag=made.etag)
        self.refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", lambda: stub.DeleteSavedScan(old))
        stub.DeleteSavedScan(scanner_pb2.DeleteSavedScanRequest(name="scans/shared", etag=now.etag))
        gone = scanner_pb2.DeleteSavedScanRequest(name="scans/shared")
        self.refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", lambda: stub.DeleteSavedScan(gone))

    def test_lists_are_paged_by_name_without_overlap(self):
        for name in ["page-b", "page-a", "page-c", "pagea", "zz-last"]:
            self.market.save(name)
        whole = [saved.name for saved in self.market.saved()]
        self.assertEqual(whole, sorted(whole))
        self.assertEqual([saved.name for saved in self.market.saved(page_size=2)], whole)
        self.assertLessEqual({"scans/preset-balanced", "scans/zz-last"}, set(whole))
        first = self.market.scanner.ListSavedScans(scanner_pb2.ListSavedScansRequest(page_size=1))
        request = scanner_pb2.ListSavedScansRequest(page_token=first.next_page_token[:-2] + "00")
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            "PAGE_TOKEN_MISMATCH",
            lambda: self.market.scanner.ListSavedScans(request),
        )

    def test_a_preset_is_plain_expressions_to_read_change_and_save(self):
        stub = self.market.scanner
        preset = stub.GetSavedScan(scanner_pb2.GetSavedScanRequest(name="scans/preset-balanced"))
        factors = {factor.name: factor for factor in preset.scan.factors}
        self.assertEqual(factors["momentum"].expr, "roc(close[21], 230)")
        self.assertEqual((factors["volatility"].expr, factors["volatility"].weight), ("realized_vol(60)", -0.3))
        for call in (
            lambda: stub.DeleteSavedScan(scanner_pb2.DeleteSavedScanRequest(name=preset.name)),
            lambda: stub.UpdateSavedScan(scanner_pb2.UpdateSavedScanRequest(saved_scan=preset)),
        ):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "RESERVED_NAME", call)
        mine = types_pb2.ScanSpec()
        mine.CopyFrom(preset.scan)
        mine.factors[0].expr, mine.factors[1].expr = "roc(20)", "realized_vol(20)"
        self.market.scanner.CreateSavedScan(
            scanner_pb2.CreateSavedScanRequest(
                saved_scan_id="my-score", saved_scan=scanner_pb2.SavedScan(scan=mine)
            )
        )
        scan = self.market.scan(saved_scan="scans/my-score", limit=LIMIT)
        self.assertEqual(
            list(scan.cells), ["close", "score()", "factor_momentum", "factor_volatility", "factor_technical"]
        )
        parts = sum(factor.weight * scan.column(f"factor_{factor.name}") for factor in mine.factors)
        known = ~np.isnan(parts)
        self.assertGreater(known.sum(), 50)
        np.testing.assert_allclose(scan.column("score()")[known], parts[known], rtol=1e-12)

    def test_every_problem_of_a_scan_comes_at_once(self):
        spec = types_pb2.ScanSpec(
            filter="smaa(20) > clos && in_universe('nowhere')",
            columns=["sma(0)"],
            rank_by="volum",
            group_by="sectr",
            limit=-1,
            timeframe="7x",
            universe=types_pb2.UniverseSelector(universe="universes/defaul"),
        )
        answer = self.market.scanner.ValidateScan(scanner_pb2.ValidateScanRequest(scan=spec))
        self.assertFalse(answer.valid)
        found = {(error.field, error.reason, error.suggestion) for error in answer.errors}
        self.assertLessEqual(
            {
                ("scan.filter", "UNKNOWN_FUNCTION", "sma"),
                ("scan.filter", "UNKNOWN_NAME", "close"),
                ("scan.filter", "UNKNOWN_NAME", ""),
                ("scan.columns[0]", "OUT_OF_RANGE", ""),
                ("scan.rank_by", "UNKNOWN_NAME", "volume"),
                ("scan.group_by", "GROUP_REQUIRED", "sector"),
                ("scan.universe.universe", "NOT_FOUND", "universes/default"),
                ("scan.limit", "OUT_OF_RANGE", ""),
                ("scan.timeframe", "UNKNOWN_TIMEFRAME", ""),
            },
            found,
        )

    def test_named_universes_are_scanned_and_asked_for(self):
        everyone = self.market.scan(columns=["close", "sector", "market_cap"], limit=LIMIT)
        some = everyone.symbols[5:15]
        made = self.market.name_universe("handful", symbols=some)
        self.assertEqual((made.symbols, list(made.definition.symbols)), (10, sorted(some)))
        scan = self.market.scan(universe={"universe": "universes/handful"}, limit=LIMIT, columns=["rank(close)"])
        self.assertEqual((scan.symbols, scan.summary.scanned), (sorted(some), 10))
        self.assertEqual(max(scan.column("rank(close)")), 10, "the population is the universe")
        asked = self.market.scan("in_universe('handful')", limit=LIMIT)
        self.assertEqual((asked.symbols, asked.summary.scanned), (sorted(some), 80))
        sector = next(text for text in everyone.cells["sector"] if text)
        self.market.name_universe("one-sector", filter=f"sector == '{sector}'")
        scan = self.market.scan(universe={"universe": "universes/one-sector"}, columns=["sector"], limit=LIMIT)
        self.assertEqual(set(scan.cells["sector"]), {sector})
        self.assertEqual(len(scan.symbols), everyone.cells["sector"].count(sector))
        neither = self.market.scan("not in_universe('one-sector') and not in_universe('default')", limit=LIMIT)
        self.assertEqual(neither.symbols, [])
        listed = self.market.universes.ListSymbols(universes_pb2.ListSymbolsRequest(parent="universes/handful"))
        self.assertEqual([symbol.symbol for symbol in listed.symbols], sorted(some))
        names = [u.name for u in self.market.universes.ListUniverses(universes_pb2.ListUniversesRequest()).universes]
        self.assertLessEqual({"universes/default", "universes/handful", "universes/one-sector"}, set(names))

        update = universes_pb2.UpdateUniverseRequest(
            universe=universes_pb2.Universe(
                name=made.name,
                etag=made.etag,
                definition=universes_pb2.UniverseDefinition(symbols=everyone.symbols[:2]),
            )
        )
        changed = self.market.universes.UpdateUniverse(update)
        self.assertEqual(changed.symbols, 2)
        self.refused(
            grpc.StatusCode.ABORTED, "ETAG_MISMATCH", lambda: self.market.universes.UpdateUniverse(update)
        )
        self.assertEqual(self.market.scan("in_universe('handful')").symbols, sorted(everyone.symbols[:2]))
        before = self.market.scan("in_universe('handful')", snapshot_id=asked.header.snapshot_id)
        self.assertEqual(before.symbols, sorted(some), "a snapshot stays as it is")

        invalid = grpc.StatusCode.INVALID_ARGUMENT
        name = self.market.name_universe
        self.refused(invalid, "TYPE_MISMATCH", lambda: name("bars", filter="close > 5"))
        self.refused(invalid, "TYPE_MISMATCH", lambda: name("nested", filter="in_universe('handful')"))
        self.refused(invalid, "UNKNOWN_NAME", lambda: name("typo", filter="sectr == 'x'"))
        self.refused(invalid, "CONTRADICTION", lambda: name("nobody"))
        self.refused(invalid, "RESERVED_NAME", lambda: name("default", filter="active"))
        self.refused(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", lambda: name("handful", symbols=["A"]))
        found = self.refused(invalid, "UNKNOWN_NAME", lambda: self.market.scan("in_universe('handfull')"))
        self.assertEqual(found["panscan.v1.ExpressionError"][0].suggestion, "handful")
        nowhere = {"universe": "universes/nowhere"}
        self.refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", lambda: self.market.scan(universe=nowhere))
        self.market.universes.DeleteUniverse(universes_pb2.DeleteUniverseRequest(name="universes/one-sector"))
        gone = universes_pb2.GetUniverseRequest(name="universes/one-sector")
        self.refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", lambda: self.market.universes.GetUniverse(gone))

    def test_statistics_of_groups_are_numpys(self):
        exprs = ["close", "roc(close, 20)", "sma(close, 50)", "market_cap", "volume"]
        percentiles = [0, 12.5, 50, 66.6, 100]
        for by in ("sector", "exchange"):
            found, answer = self.market.statistics(*exprs, by=by, percentiles=percentiles)
            self.assertTrue(answer.complete)
            scan = self.market.scan(columns=[*exprs, by], limit=LIMIT, snapshot_id=answer.snapshot_id)
            groups = np.array([text or "" for text in scan.cells[by]])
            self.assertGreater(len(set(groups)), 1)
            for expr in exprs:
                self.assertEqual(set(found[expr]), set(groups) - {""})
                for group, told in found[expr].items():
                    values = scan.column(expr)[groups == group]
                    missing = np.isnan(values)
                    values = values[~missing]
                    self.assertEqual((told.count, told.missing), (len(values), missing.sum()))
                    if not len(values):
                        self.assertFalse(told.HasField("mean") or told.percentiles)
                        continue
                    median = np.median(values)
                    np.testing.assert_allclose(
                        [told.mean, told.deviation, told.median_deviation, *told.percentiles],
                        [
                            values.mean(),
                            values.std(),
                            np.median(np.abs(values - median)),
                            *np.percentile(values, percentiles),
                        ],
                        rtol=1e-9,
                        atol=1e-9,
                    )
            _, again = self.market.statistics(*exprs, by=by, snapshot_id=answer.snapshot_id)
            self.assertTrue(all(e.memoized for e in again.expressions), "kept until the snapshot changes")
        _, factors = self.market.statistics()
        self.assertEqual(len(factors.expressions), 5)
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.refused(invalid, "GROUP_REQUIRED", lambda: self.market.statistics(by="name"))
        self.refused(invalid, "OUT_OF_RANGE", lambda: self.market.statistics(percentiles=[101]))
        found = self.refused(invalid, "UNKNOWN_NAME", lambda: self.market.statistics("close", "clos"))
        self.assertEqual(found["panscan.v1.ExpressionError"][0].field, "exprs[1]")

    def test_the_command_line_saves_and_runs(self):
        server = {"PANSCAN_SERVER": f"http://{self.server.target}"}
        saved = run("scan", "close > 0", "-c", "close", "--rank-by", "close", "-n", "4", "--save", "by-hand", **server)
        self.assertEqual(saved.returncode, 0, saved.stderr)
        self.assertIn("scans/by-hand", saved.stderr)
        rows = run("scan", "--saved", "by-hand", "-o", "ndjson", **server)
        self.assertEqual(len(rows.stdout.splitlines()), 4, rows.stderr)
        two = run("scan", "--saved", "scans/by-hand", "-n", "2", "--asc", "-o", "ndjson", **server)
        closes = [json.loads(line)["close"] for line in two.stdout.splitlines()]
        self.assertEqual(len(closes), 2)
        self.assertLess(max(closes), min(json.loads(line)["close"] for line in rows.stdout.splitlines()))
        again = run("scan", "close > 0", "--save", "by-hand", **server)
        self.assertEqual(again.returncode, 3, again.stderr)
        self.assertEqual(run("scan", "--saved", "nothing", **server).returncode, 3)
        scored = run("scan", "--factor", "calm=-1:realized_vol(20)", "--factor", "reversal=1", "-o", "ndjson", **server)
        self.assertIn("factor_calm", json.loads(scored.stdout.splitlines()[0]), scored.stderr)


class Kept(unittest.TestCase):
    def test_a_killed_server_loses_nothing_that_it_answered(self):
        with folder() as store, Sim("--rate", "1000/s", "--symbols", "20", "--sessions", "10") as sim:
            attributes = store.parent / (store.name + ".csv")
            with Server(sim, store, PANSCAN_HISTORY_DAILY="10") as server, Panscan(server.target) as market:
                symbols = market.scan(limit=LIMIT).symbols
                made = market.save("kept", "close > 0", limit=3)
                universe = market.name_universe("pair", symbols=symbols[:2])
                server.kill()
            attributes.write_text("symbol,sector\n" + "".join(f"{symbol},Own\n" for symbol in symbols[:5]))
            arguments = ("--universe", str(attributes))
            with Server(sim, store, *arguments, PANSCAN_HISTORY_DAILY="10") as server:
                with Panscan(server.target) as market:
                    request = scanner_pb2.GetSavedScanRequest(name="scans/kept")
                    self.assertEqual(market.scanner.GetSavedScan(request), made)
                    request = universes_pb2.GetUniverseRequest(name="universes/pair")
                    self.assertEqual(market.universes.GetUniverse(request).etag, universe.etag)
                    self.assertEqual(market.scan("in_universe('pair')").symbols, sorted(symbols[:2]))
                    self.assertEqual(market.scan("sector == 'Own'").summary.matched, 5)
                server.kill()
            attributes.unlink()
            with Server(sim, store, PANSCAN_HISTORY_DAILY="10") as server, Panscan(server.target) as market:
                self.assertEqual(market.scan("sector == 'Own'").summary.matched, 5, "an import stays")


if __name__ == "__main__":
    unittest.main()
