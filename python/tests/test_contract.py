"""What a caller sees when something is wrong, and the standard services beside panscan's own."""

import threading
import time
import unittest

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from market import settled, told
from panscan.v1 import indicators_pb2, indicators_pb2_grpc, market_data_pb2, market_data_pb2_grpc
from panscan.v1 import scanner_pb2, scanner_pb2_grpc, types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder, run

SERVICES = {f"panscan.v1.{name}" for name in ("Scanner", "MarketData", "Universes", "Admin")}


def details(fault: grpc.RpcError) -> dict[str, list]:
    """The details of a status by the name of their type, unpacked where this module knows it."""
    known = {
        "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
        "google.rpc.BadRequest": error_details_pb2.BadRequest,
        "google.rpc.ResourceInfo": error_details_pb2.ResourceInfo,
        "panscan.v1.ExpressionError": scanner_pb2.ExpressionError,
    }
    found = {}
    for packed in rpc_status.from_call(fault).details:
        name = packed.type_url.rsplit("/", 1)[-1]
        message = known[name]() if name in known else packed
        if name in known:
            packed.Unpack(message)
        found.setdefault(name, []).append(message)
    return found


class Answers(unittest.TestCase):
    """A small market on a server that stays up."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "50", "--sessions", "60"))
        cls.store = cls.enterClassContext(folder())
        cls.server = cls.enterClassContext(Server(cls.sim, cls.store, PANSCAN_HISTORY_DAILY="60"))
        cls.market = cls.enterClassContext(Panscan(cls.server.target))

    def refused(self, code, reason=None, **fields) -> dict[str, list]:
        with self.assertRaises(grpc.RpcError) as caught:
            self.market.scan(**fields)
        fault = caught.exception
        self.assertEqual(fault.code(), code, fault.details())
        found = details(fault)
        info = found["google.rpc.ErrorInfo"][0]
        self.assertEqual(info.domain, "panscan")
        if reason:
            self.assertEqual(info.reason, reason)
        return found

    def test_the_empty_request_is_a_scan(self):
        scan = self.market.scan(form="rows")
        self.assertEqual(len(scan.symbols), 50)
        self.assertIn("close", scan.cells)

    def test_the_registry_is_listed_by_pages_that_do_not_overlap(self):
        stub = indicators_pb2_grpc.IndicatorsStub(self.market.channel)
        names, token = [], ""
        while True:
            page = stub.ListFunctions(indicators_pb2.ListFunctionsRequest(page_size=40, page_token=token))
            names += [function.name for function in page.functions]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual({"close", "sma", "rsi", "rank", "sector", "market_cap", "if"}, set(names))
        whole = stub.ListFunctions(indicators_pb2.ListFunctionsRequest(page_size=1000))
        self.assertEqual([function.name for function in whole.functions], names)
        [sma] = [function for function in whole.functions if function.name == "sma"]
        self.assertEqual([p.name for p in sma.parameters], ["x", "n"])
        self.assertEqual((sma.parameters[0].default_value, sma.lookback), ("close", "n-1"))
        with self.assertRaises(grpc.RpcError) as caught:
            stub.ListFunctions(indicators_pb2.ListFunctionsRequest(page_token="ab12"))
        self.assertEqual(details(caught.exception)["google.rpc.ErrorInfo"][0].reason, "PAGE_TOKEN_MISMATCH")

    def test_snapshots_that_can_be_pinned_are_listed(self):
        scan = self.market.scan(columns=["close"])
        stub = scanner_pb2_grpc.ScannerStub(self.market.channel)
        listed = stub.ListSnapshots(scanner_pb2.ListSnapshotsRequest()).snapshots
        [newest] = [s for s in listed if s.snapshot_id == scan.header.snapshot_id]
        self.assertEqual((newest.symbols, list(newest.timeframes)), (50, ["1d"]))
        self.assertGreater(newest.expire_time.ToDatetime(), newest.create_time.ToDatetime())
        for snapshot in listed:
            again = self.market.scan(columns=["close"], snapshot_id=snapshot.snapshot_id)
            self.assertEqual(again.header.snapshot_id, snapshot.snapshot_id)

    def test_an_unknown_function_is_named_with_its_place_and_a_suggestion(self):
        filter = "rsi(14) < 30 and smaa(20) > close"
        found = self.refused(grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_FUNCTION", filter=filter)
        [error] = found["panscan.v1.ExpressionError"]
        self.assertEqual((error.field, error.reason, error.suggestion), ("scan.filter", "UNKNOWN_FUNCTION", "sma"))
        self.assertEqual(filter[error.start : error.end], "smaa")
        self.assertEqual((error.line, error.column), (1, 18))
        self.assertIn("^^^^", error.excerpt)
        [violations] = found["google.rpc.BadRequest"]
        self.assertEqual([violation.field for violation in violations.field_violations], ["scan.filter"])

    def test_each_kind_of_mistake_has_its_word(self):
        for filter, reason in [
            ("rsi(14) <", "SYNTAX"),
            ("clos > 1", "UNKNOWN_NAME"),
            ("sma() > 1", "MISSING_ARGUMENT"),
            ("rsi(close, 14, 2) > 1", "TOO_MANY_ARGUMENTS"),
            ("sector > 5", "TYPE_MISMATCH"),
            ("close", "TYPE_MISMATCH"),
            ("sma(market_cap, 5) > 1", "SERIES_REQUIRED"),
            ("sma(0) > 1", "OUT_OF_RANGE"),
            ("sma(1000000) > 1", "OUT_OF_RANGE"),
            ("sma(close, volume) > 1", "NOT_CONSTANT"),
            ("20 < rsi(14) < 30", "CHAINED_COMPARISON"),
            ("close == null", "NULL_COMPARISON"),
        ]:
            with self.subTest(filter=filter):
                found = self.refused(grpc.StatusCode.INVALID_ARGUMENT, filter=filter)
                reasons = [error.reason for error in found["panscan.v1.ExpressionError"]]
                self.assertIn(reason, reasons)

    def test_all_mistakes_of_a_request_are_told_at_once(self):
        found = self.refused(grpc.StatusCode.INVALID_ARGUMENT, filter="smaa(20) > 1", columns=["close", "clos"])
        fields = {error.field for error in found["panscan.v1.ExpressionError"]}
        self.assertEqual(fields, {"scan.filter", "scan.columns[1]"})

    def test_fields_out_of_range(self):
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, limit=-1)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, batch_rows=-5)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, timeframe="7x")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, data_policy=77)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, page_token="nonsense")

    def test_an_unknown_symbol(self):
        stub = market_data_pb2_grpc.MarketDataStub(self.market.channel)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.GetBars(market_data_pb2.GetBarsRequest(symbol="NOSUCHNAME"), timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        scan = self.market.scan(universe=types_pb2.UniverseSelector(symbols=["NOSUCHNAME"]))
        self.assertEqual(scan.symbols, [])
        self.assertIn("SYMBOL_UNKNOWN", scan.reasons())

    def test_cuda_that_is_not_there(self):
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "BACKEND_UNAVAILABLE", backend=types_pb2.BACKEND_CUDA)

    def test_reflection_speaks_both_versions(self):
        database = ProtoReflectionDescriptorDatabase(self.market.channel)
        self.assertLessEqual(SERVICES | {"grpc.health.v1.Health"}, set(database.get_services()))
        method = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
        for version in ("v1", "v1alpha"):
            call = self.market.channel.stream_stream(
                method.format(version),
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="panscan.v1.Scanner")
            [answer] = call(iter([asked]), timeout=10)
            self.assertTrue(answer.file_descriptor_response.file_descriptor_proto, version)

    def test_health(self):
        stub = health_pb2_grpc.HealthStub(self.market.channel)
        for service in {""} | SERVICES:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING, service)

    def test_metadata_names_the_scan_and_its_snapshot(self):
        call = self.market.frames()
        frames = list(call)
        metadata = dict(call.initial_metadata()) | dict(call.trailing_metadata())
        self.assertEqual(metadata["panscan-snapshot-id"], frames[0].header.snapshot_id)
        self.assertEqual(metadata["panscan-scan-id"], frames[0].header.scan_id)


class SlowProvider(unittest.TestCase):
    """A cold fetch that takes twenty seconds, and callers that do not wait for it."""

    def setUp(self):
        self.sim = self.enterContext(Sim("--rate", "10/s", "--symbols", "40", "--sessions", "200"))
        store = self.enterContext(folder())
        self.server = self.enterContext(Server(self.sim, store, rate="10/s", PANSCAN_HISTORY_DAILY="200"))
        self.market = self.enterContext(Panscan(self.server.target))

    def test_rows_arrive_before_the_deadline_and_say_what_is_missing(self):
        begin = time.monotonic()
        scan = self.market.scan(columns=["close", "sma(150)"], limit=50, timeout=3.0)
        self.assertLess(time.monotonic() - begin, 3.0)
        self.assertFalse(scan.summary.complete)
        self.assertTrue(scan.reasons() & {"DEADLINE_PARTIAL", "RATE_BUDGET_PARTIAL"}, told(scan))

    def test_require_complete_gives_no_batch(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.market.scan(columns=["sma(150)"], timeout=2.0, data_policy=policy("REQUIRE_COMPLETE"))
        codes = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        self.assertIn(caught.exception.code(), codes)

    def test_cached_only_makes_no_call(self):
        before = self.sim.audit()["total"]
        scan = self.market.scan(columns=["sma(150)"], data_policy=policy("CACHED_ONLY"))
        self.assertEqual(scan.summary.provider_calls, 0)
        self.assertFalse(scan.summary.complete)
        self.assertEqual(self.sim.audit()["total"], before)

    def test_nobody_waiting_means_no_further_call(self):
        call = self.market.frames(columns=["sma(150)"], timeout=120)
        drained = threading.Thread(target=lambda: self.assertRaises(grpc.RpcError, list, call))
        drained.start()
        begin = self.sim.audit()["total"]
        while self.sim.audit()["total"] < begin + 8:
            self.assertTrue(drained.is_alive(), "the scan ended by itself")
            time.sleep(0.05)
        call.cancel()
        drained.join(10)
        # those under way come back; a fetch that went on would make ten calls a second
        stood = settled(lambda: self.sim.audit()["total"])
        self.assertLess(stood, 150)
        self.assertEqual(self.sim.audit()["violations"], 0)


def policy(name: str) -> int:
    return types_pb2.DataPolicy.Value(f"DATA_POLICY_{name}")


class Starts(unittest.TestCase):
    """Starts that cannot go well: one clear message and the exit code of the contract."""

    def serve(self, sim, *arguments, **settings):
        given = {"PANSCAN_CLOCK": "provider", "PANSCAN_REDIS_URL": "", "POLYGON_API_KEY": "test"} | settings
        with folder() as store:
            listen = arguments or ["--listen", "127.0.0.1:0"]
            return run("serve", *listen, "--provider", sim, "--store", str(store), **given)

    def test_a_wrong_key(self):
        with Sim("--rate", "1000/s", "--symbols", "10", "--sessions", "10", "--keys", "right") as sim:
            ended = self.serve(sim.url, POLYGON_API_KEY="zebra-4711", PANSCAN_RATE_LIMIT="100/s")
        self.assertEqual(ended.returncode, 7, ended.stderr)
        self.assertIn("POLYGON_API_KEY", ended.stderr)
        self.assertNotIn("zebra", ended.stderr)

    def test_all_bad_settings_are_told_at_once(self):
        ended = self.serve("http://127.0.0.1:9", PANSCAN_RATE_LIMIT="often", PANSCAN_THREDS="2", MAX_RETRIES="-1")
        self.assertEqual(ended.returncode, 9, ended.stderr)
        for name in ("PANSCAN_RATE_LIMIT", "PANSCAN_THREDS", "PANSCAN_THREADS", "MAX_RETRIES"):
            self.assertIn(name, ended.stderr)

    def test_a_port_in_use(self):
        with Sim("--rate", "1000/s", "--symbols", "10", "--sessions", "10") as sim:
            ended = self.serve(sim.url, "--listen", sim.ready["http"].removeprefix("http://"), PANSCAN_RATE_LIMIT="100/s")
        self.assertEqual(ended.returncode, 9, ended.stderr)


if __name__ == "__main__":
    unittest.main()
