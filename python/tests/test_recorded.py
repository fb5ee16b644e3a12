"""The real US market of 2016, defects included, from files through the provider's paths to a scan."""

import unittest

from definitions import from_parquet
from market import KilledMidway, Market
from processes import recorded

DATA = recorded("daily/us_universe_daily_2016.parquet")
UNIVERSE = recorded("universe/us_universe_2016_join.csv.gz")
ABSENT = "no recorded data: daily/us_universe_daily_2016.parquet"


class Recorded:
    simulated = ["--data", str(DATA), "--universe", str(UNIVERSE)]
    served = ["--universe", str(UNIVERSE)]

    @classmethod
    def bars(cls, _sim):
        return from_parquet(DATA)


@unittest.skipUnless(DATA and UNIVERSE, ABSENT)
class Recorded2016(Recorded, Market, unittest.TestCase):
    def test_it_is_the_market_that_was_recorded(self):
        self.assertEqual(len(self.values), 6_596)
        self.assertEqual(sum(len(own) for own in self.raw.values()), 1_517_173)

    def test_attributes_of_the_universe_file(self):
        scan = self.scan(columns=["sector", "market_cap"], filter="sector == 'Technology' and market_cap > 10B")
        self.assertGreater(len(scan.symbols), 10)
        self.assertEqual(set(scan.cells["sector"]), {"Technology"})
        self.assertTrue((scan.column("market_cap") > 10e9).all())


@unittest.skipUnless(DATA and UNIVERSE, ABSENT)
class Recorded2016Killed(Recorded, KilledMidway, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
