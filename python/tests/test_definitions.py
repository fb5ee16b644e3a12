"""The definitions that other tests trust, against figures worked out by hand."""

import unittest

import numpy as np
from definitions import Bars, ema, from_truth, rsi, sma, stddev, vwap


def bars(close, volume=None, vwap_of=None):
    close = np.array(close, dtype=float)
    volume = np.array(volume if volume is not None else np.ones(len(close)), dtype=float)
    of = np.array(vwap_of if vwap_of is not None else np.full(len(close), np.nan), dtype=float)
    date = np.datetime64("2016-01-04") + np.arange(len(close))
    return Bars(date, close, close + 1, close - 1, close, volume, of)


class Definitions(unittest.TestCase):
    def test_windows(self):
        close = np.array([1.0, 2.0, 3.0, 4.0])
        self.assertEqual(sma(close, 2), 3.5)
        self.assertEqual(stddev(close, 2), 0.5)
        self.assertTrue(np.isnan(sma(close, 5)))
        # seeded with the mean of 1, 2; then 2/3 of the way to 3 and to 4
        self.assertAlmostEqual(ema(close, 2), 3.5, places=12)

    def test_rsi(self):
        self.assertEqual(rsi(np.array([1.0, 1.0, 1.0]), 2), 0.0)
        self.assertEqual(rsi(np.array([1.0, 2.0, 3.0]), 2), 100.0)
        self.assertTrue(np.isnan(rsi(np.array([1.0, 2.0]), 2)))
        # gains 1, 0 and losses 0, 1 average 0.5 each; then 0.75 and 0.25
        self.assertAlmostEqual(rsi(np.array([1.0, 2.0, 1.0, 2.0]), 2), 75.0, places=12)

    def test_vwap(self):
        self.assertAlmostEqual(vwap(bars([10, 20], [1, 3]), 2), 17.5, places=12)
        self.assertAlmostEqual(vwap(bars([10, 20], [1, 1], [12, np.nan]), 2), 16.0, places=12)
        self.assertTrue(np.isnan(vwap(bars([10, 20], [0, 0]), 2)))

    def test_bad_bars_are_left_out(self):
        own = bars([10, 20, 30, 40])
        own.high[1] = 5
        own.open[2] = np.nan
        self.assertEqual(list(own.valid().close), [10, 40])

    def test_splits(self):
        own = bars([100, 50], [1, 2], [101, 51]).adjusted([(np.datetime64("2016-01-05"), 2.0)])
        self.assertEqual(list(own.close), [50, 50])
        self.assertEqual(list(own.volume), [2, 2])
        self.assertEqual(list(own.vwap), [50.5, 51])

    def test_truth_lines(self):
        line = b'{"T":"A","t":1451883600000,"o":1,"h":2,"l":0.5,"c":1.5,"v":10,"n":3}\n'
        own = from_truth(line)["A"]
        self.assertEqual(str(own.date[0]), "2016-01-04")
        self.assertTrue(np.isnan(own.vwap[0]))


if __name__ == "__main__":
    unittest.main()
