"""Functions over the population, in groups and under conditions, and scores, against NumPy.

One scan returns both the values that a function reads and what it makes of them, so that nothing else is compared.
"""

import unittest

import numpy as np
from panscan.v1 import types_pb2
from panscan_client import Panscan
from processes import Server, Sim, folder

LIMIT = 50_000


def rank(x):
    return 1.0 + (x[None, :] > x[:, None]).sum(axis=1)


def percentile(x):
    below = (x[None, :] < x[:, None]).sum(axis=1)
    equal = (x[None, :] == x[:, None]).sum(axis=1)
    return 100.0 * (below + (equal + 1) / 2 - 0.5) / len(x)


def zscore(x):
    return np.full(len(x), np.nan) if len(x) < 2 or x.std() == 0 else (x - x.mean()) / x.std()


def robust(x, clip=np.inf):
    scale = 1.4826 * np.median(np.abs(x - np.median(x)))
    return np.full(len(x), np.nan) if scale == 0 else np.clip((x - np.median(x)) / scale, -clip, clip)


def winsorize(x, lo=0.01, hi=0.99):
    ordered = np.sort(x)
    count = len(x)
    return np.clip(x, ordered[int(np.floor(lo * count))], ordered[int(np.ceil(hi * count)) - 1])


def everybody(statistic):
    return lambda x: np.full(len(x), float(statistic(x)))


# call: what it makes of the values of one group; %s stands for the expression and, after it, by= and where=
CALLS = {
    "rank(%s)": rank,
    "percentile(%s)": percentile,
    "zscore(%s)": zscore,
    "robust_zscore(%s)": robust,
    "robust_zscore(%s, clip=1.5)": lambda x: robust(x, 1.5),
    "winsorize(%s, lo=0.1, hi=0.8)": lambda x: winsorize(x, 0.1, 0.8),
    "demean(%s)": lambda x: x - x.mean(),
    "bucket(%s, 7)": lambda x: np.minimum(1 + np.floor(percentile(x) * 7 / 100), 7),
    "top(%s, 5)": lambda x: (rank(x) <= 5).astype(float),
    "bottom(%s, 5)": lambda x: (rank(-x) <= 5).astype(float),
    "group_mean(%s)": everybody(np.mean),
    "group_median(%s)": everybody(np.median),
    "group_sum(%s)": everybody(np.sum),
    "group_count(%s)": everybody(len),
}
GROUPS = ["", "sector", "exchange"]


def across(function, x, groups, among):
    """The function within each group of those who take part; nobody else has a value."""
    out = np.full(len(x), np.nan)
    for group in set(groups) - {None}:
        members = np.array([own == group for own in groups]) & among & ~np.isnan(x)
        if members.any():
            out[members] = function(x[members])
    return out


class Across(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place = cls.enterClassContext(folder())
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "120"))
        with Server(cls.sim, place / "first", PANSCAN_HISTORY_DAILY="40") as server:
            with Panscan(server.target) as market:
                symbols = market.scan(columns=["close"], limit=LIMIT, timeout=120).symbols
        sectors = ["Energy", "Finance", "Health Care", "Utilities", ""]
        rows = [f"{symbol},{sectors[at % 7 % 5]},XN{'AYS'[at % 3]}S" for at, symbol in enumerate(sorted(symbols))]
        attributes = place / "universe.csv"
        attributes.write_text("\n".join(["symbol,sector,exchange", *rows]) + "\n")
        settings = {"PANSCAN_HISTORY_DAILY": "40"}
        server = Server(cls.sim, place / "store", "--universe", str(attributes), **settings)
        cls.server = cls.enterClassContext(server)
        cls.market = cls.enterClassContext(Panscan(cls.server.target))

    def scan(self, **fields):
        return self.market.scan(limit=LIMIT, adjustment=types_pb2.ADJUSTMENT_RAW, timeout=120, **fields)

    def alike(self, got, want, what):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=what)

    def test_every_function_by_group_and_under_a_condition(self):
        compared = 0
        for by in GROUPS:
            for where in ["", "close > open"]:
                extra = (f", by={by}" if by else "") + (f", where={where}" if where else "")
                names = [call.replace("%s", "x").replace(")", extra + ")") for call in CALLS]
                columns = ["x = round(roc(20), 1)", "open", "close", "sector", "exchange"]
                columns += [f"c{at} = {name}" for at, name in enumerate(names)]
                scan = self.scan(columns=columns)
                x = scan.column("x")
                groups = scan.cells[by] if by else ["all"] * len(x)
                among = scan.column("close") > scan.column("open") if where else np.full(len(x), True)
                for at, (name, function) in enumerate(zip(names, CALLS.values())):
                    self.alike(scan.column(f"c{at}"), across(function, x, groups, among), name)
                    compared += np.isfinite(scan.column(f"c{at}")).sum() > 20
        self.assertEqual(compared, 6 * len(CALLS))

    def test_a_filter_leaves_the_population_as_it_is(self):
        columns = ["r = rank(close)", "b = breadth(close > open)", "close", "open"]
        whole = self.scan(columns=columns)
        kept = self.scan(columns=columns, filter="top(close, 10)")
        self.assertEqual(sorted(kept.column("r")), sorted(r for r in whole.column("r") if r <= 10))
        share = 100 * np.mean(whole.column("close") > whole.column("open"))
        self.alike(kept.column("b"), np.full(len(kept.symbols), share), "breadth")

    def test_a_score_is_the_sum_of_its_factors(self):
        factors = [
            types_pb2.Factor(name="trend", expr="roc(20)", weight=0.5, winsorize=0.05),
            types_pb2.Factor(
                name="calm",
                expr="realized_vol(20)",
                weight=-0.25,
                by="sector",
                transform=types_pb2.FACTOR_TRANSFORM_ZSCORE,
            ),
        ]
        scan = self.scan(columns=["t = roc(20)", "v = realized_vol(20)", "sector", "s = score()"], factors=factors)
        trend = across(lambda x: robust(winsorize(x, 0.05, 0.95)), scan.column("t"), ["all"] * len(scan.symbols),
                       np.full(len(scan.symbols), True))
        calm = across(zscore, scan.column("v"), scan.cells["sector"], np.full(len(scan.symbols), True))
        self.alike(scan.column("factor_trend"), trend, "trend")
        self.alike(scan.column("factor_calm"), calm, "calm")
        score = 0.5 * trend - 0.25 * calm
        self.alike(scan.column("s"), score, "score")
        known = score[~np.isnan(score)]
        self.assertGreater(len(known), 50)
        self.assertEqual(list(known), sorted(known, reverse=True), "ranked by the score")


if __name__ == "__main__":
    unittest.main()
