"""A generated market, so that the same paths are tested where no recorded data is: values, restarts, faults."""

import json
import unittest

import numpy as np
from definitions import COLUMNS, disagreements, expected, from_truth
from market import ALL, KilledMidway, Market, shortfalls, told
from panscan.v1 import types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder

MARKET = ["--symbols", "600", "--sessions", "252", "--seed", "7"]


class Generated:
    simulated = MARKET

    @classmethod
    def bars(cls, sim):
        return from_truth(sim.get("/_sim/truth?timeframe=1d"))


def splits_of(sim) -> dict[str, list]:
    """Splits by symbol as the provider lists them: date and new shares per old one."""
    found, path = {}, "/v3/reference/splits?limit=1000"
    while path:
        page = json.loads(sim.get(path))
        for split in page["results"]:
            date = np.datetime64(split["execution_date"])
            found.setdefault(split["ticker"], []).append((date, split["split_to"] / split["split_from"]))
        path = page.get("next_url", "").removeprefix(sim.url)
    return found


class GeneratedMarket(Generated, Market, unittest.TestCase):
    def test_splits_are_applied_unless_raw_is_asked_for(self):
        splits = splits_of(self.sim)
        self.assertTrue(splits, "the market has no split; choose another seed")
        adjusted = {symbol: own.adjusted(splits.get(symbol, [])) for symbol, own in self.raw.items()}
        scan = self.scan(adjustment=types_pb2.ADJUSTMENT_SPLITS)
        self.agree(scan, expected(adjusted))
        changed = [symbol for symbol in splits if symbol in adjusted and self.raw[symbol].date[0] < splits[symbol][0][0]]
        self.assertTrue(changed, "no split inside the market's sessions")


class GeneratedMarketKilled(Generated, KilledMidway, unittest.TestCase):
    pass


class FaultyProvider(unittest.TestCase):
    def test_what_a_correct_client_can_recover_from_changes_no_value(self):
        with folder() as store, Sim("--rate", "1000/s", "--symbols", "60", "--sessions", "60", "--seed", "3") as sim:
            values = expected(from_truth(sim.get("/_sim/truth")))
            with Server(sim, store, PANSCAN_HISTORY_DAILY="60", MAX_RETRIES="8", RETRY_BACKOFF_FACTOR="0.05") as server:
                body = json.dumps({"503": 0.1, "429_retry_after": 0.02, "bad_json": 0.03, "drop_socket": 0.03})
                sim.post("/_sim/faults", body)
                with Panscan(server.target) as market:
                    scan = market.scan(
                        columns=COLUMNS, limit=ALL, timeout=300, adjustment=types_pb2.ADJUSTMENT_RAW
                    )
            self.assertGreater(sum(sim.audit()["faults_injected"].values()), 0)
            self.assertEqual(shortfalls(scan), [])
            self.assertEqual(disagreements(scan, values)[:10], [])
            self.assertEqual(len(scan.symbols), len(values))

    def test_a_provider_that_fails_always_leaves_an_answer_that_says_so(self):
        with folder() as store, Sim("--rate", "1000/s", "--symbols", "30", "--sessions", "30") as sim:
            settings = {"PANSCAN_HISTORY_DAILY": "30", "MAX_RETRIES": "1", "RETRY_BACKOFF_FACTOR": "0.01"}
            with Server(sim, store, **settings) as server, Panscan(server.target) as market:
                sim.post("/_sim/faults", '{"500": 1.0}')
                scan = market.scan(columns=COLUMNS, limit=ALL, timeout=60)
                self.assertFalse(scan.summary.complete)
                self.assertEqual(scan.symbols, [])
                self.assertTrue(scan.reasons() & {"SYMBOL_FETCH_FAILED", "SYMBOL_NO_BARS"}, told(scan))
                sim.post("/_sim/faults", "{}")
                scan = market.scan(columns=COLUMNS, limit=ALL, timeout=60)
                self.assertEqual(shortfalls(scan), [])
                self.assertEqual(len(scan.symbols), 30)


if __name__ == "__main__":
    unittest.main()
