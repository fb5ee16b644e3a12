"""The last values of sma(5), sma(20), rsi(14) and vwap(20) by Python libraries, timed on request.

Started by `panscan bench scan` as `python peers.py DATA SYMBOLS BARS THREADS`; DATA holds f64, little-endian,
`[field][symbol][bar]`, of high, low, close, volume and vwap. Lines in: `check NAME FILE` writes the values,
`time NAME RUNS` answers nanoseconds.

numba: the kernel of somebody who knows how, columns side by side in blocks of 64 symbols, on one thread (the form on
two was slower and unstable), and the plain loop per symbol on two threads. talib: a loop over symbols, as most people
write it. polars: one lazy query.
"""

import os
import sys
import time

_, DATA, SYMBOLS, BARS, THREADS = sys.argv
SYMBOLS, BARS, THREADS = int(SYMBOLS), int(BARS), int(THREADS)
os.environ["NUMBA_NUM_THREADS"] = str(THREADS)
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

import numba  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import talib  # noqa: E402

HIGH, LOW, CLOSE, VOLUME, VWAP = np.fromfile(DATA).reshape(5, SYMBOLS, BARS)
# One row per bar, symbols side by side: what the blocked kernel wants.
SIDE = [np.ascontiguousarray(field.T) for field in (HIGH, LOW, CLOSE, VOLUME, VWAP)]
BLOCK = 64


@numba.njit(fastmath={"contract", "reassoc", "arcp", "nsz"}, error_model="numpy")
def blocked(high, low, close, volume, vwap, out):
    bars, symbols = close.shape
    five = np.empty(BLOCK)
    twenty = np.empty(BLOCK)
    gain = np.empty(BLOCK)
    loss = np.empty(BLOCK)
    traded = np.empty(BLOCK)
    shares = np.empty(BLOCK)
    for first in range(0, symbols, BLOCK):
        n = min(BLOCK, symbols - first)
        five[:] = 0.0
        twenty[:] = 0.0
        gain[:] = 0.0
        loss[:] = 0.0
        traded[:] = 0.0
        shares[:] = 0.0
        for t in range(1, 15):
            for k in range(n):
                change = close[t, first + k] - close[t - 1, first + k]
                gain[k] += max(change, 0.0)
                loss[k] += max(-change, 0.0)
        for t in range(15, bars):
            for k in range(n):
                change = close[t, first + k] - close[t - 1, first + k]
                gain[k] = gain[k] * (13.0 / 14.0) + max(change, 0.0)
                loss[k] = loss[k] * (13.0 / 14.0) + max(-change, 0.0)
        for t in range(bars - 20, bars):
            for k in range(n):
                twenty[k] += close[t, first + k]
                price = vwap[t, first + k]
                typical = (high[t, first + k] + low[t, first + k] + close[t, first + k]) * (1.0 / 3.0)
                price = price if price == price else typical
                traded[k] += price * volume[t, first + k]
                shares[k] += volume[t, first + k]
        for t in range(bars - 5, bars):
            for k in range(n):
                five[k] += close[t, first + k]
        for k in range(n):
            out[0, first + k] = five[k] * 0.2
            out[1, first + k] = twenty[k] * 0.05
            total = gain[k] + loss[k]
            out[2, first + k] = 100.0 * gain[k] / total if total != 0.0 else 0.0
            out[3, first + k] = traded[k] / shares[k]


@numba.njit(parallel=True, fastmath={"contract", "reassoc", "arcp", "nsz"}, error_model="numpy")
def fused(high, low, close, volume, vwap, out):
    symbols, bars = close.shape
    for s in numba.prange(symbols):
        five = twenty = gain = loss = traded = shares = 0.0
        for t in range(1, 15):
            change = close[s, t] - close[s, t - 1]
            gain += max(change, 0.0)
            loss += max(-change, 0.0)
        for t in range(15, bars):
            change = close[s, t] - close[s, t - 1]
            gain = gain * (13.0 / 14.0) + max(change, 0.0)
            loss = loss * (13.0 / 14.0) + max(-change, 0.0)
        for t in range(bars - 20, bars):
            twenty += close[s, t]
            price = vwap[s, t]
            if price != price:
                price = (high[s, t] + low[s, t] + close[s, t]) / 3.0
            traded += price * volume[s, t]
            shares += volume[s, t]
        for t in range(bars - 5, bars):
            five += close[s, t]
        out[0, s] = five / 5.0
        out[1, s] = twenty / 20.0
        out[2, s] = 100.0 * gain / (gain + loss) if gain + loss != 0.0 else 0.0
        out[3, s] = traded / shares


@numba.njit(parallel=True, fastmath={"contract", "reassoc", "arcp", "nsz"}, error_model="numpy")
def series(high, low, close, volume, vwap, out):
    symbols, bars = close.shape
    for s in numba.prange(symbols):
        five = twenty = gain = loss = traded = shares = 0.0
        for t in range(bars):
            x = close[s, t]
            change = x - close[s, t - 1] if t > 0 else 0.0
            if t <= 14:
                gain += max(change, 0.0)
                loss += max(-change, 0.0)
            else:
                gain = gain * (13.0 / 14.0) + max(change, 0.0)
                loss = loss * (13.0 / 14.0) + max(-change, 0.0)
            price = vwap[s, t]
            if price != price:
                price = (high[s, t] + low[s, t] + x) / 3.0
            five += x
            twenty += x
            traded += price * volume[s, t]
            shares += volume[s, t]
            if t >= 5:
                five -= close[s, t - 5]
            if t >= 20:
                twenty -= close[s, t - 20]
                old = vwap[s, t - 20]
                if old != old:
                    old = (high[s, t - 20] + low[s, t - 20] + close[s, t - 20]) / 3.0
                traded -= old * volume[s, t - 20]
                shares -= volume[s, t - 20]
            out[0, s, t] = five / 5.0 if t >= 4 else np.nan
            out[1, s, t] = twenty / 20.0 if t >= 19 else np.nan
            total = gain + loss
            out[2, s, t] = np.nan if t < 14 else (100.0 * gain / total if total != 0.0 else 0.0)
            out[3, s, t] = traded / shares if t >= 19 else np.nan


LAST = np.empty((4, SYMBOLS))
ALL = None


def numba_blocked():
    blocked(*SIDE, LAST)
    return LAST


def numba_fused():
    fused(HIGH, LOW, CLOSE, VOLUME, VWAP, LAST)
    return LAST


def numba_series():
    global ALL
    ALL = np.empty((4, SYMBOLS, BARS)) if ALL is None else ALL
    series(HIGH, LOW, CLOSE, VOLUME, VWAP, ALL)
    return ALL[:, :, -1]


def talib_loop():
    out = np.empty((4, SYMBOLS))
    for s in range(SYMBOLS):
        close, volume, vwap = CLOSE[s], VOLUME[s], VWAP[s]
        price = np.where(np.isnan(vwap), (HIGH[s] + LOW[s] + close) / 3.0, vwap)
        out[0, s] = talib.SMA(close, 5)[-1]
        out[1, s] = talib.SMA(close, 20)[-1]
        out[2, s] = talib.RSI(close, 14)[-1]
        out[3, s] = talib.SUM(price * volume, 20)[-1] / talib.SUM(volume, 20)[-1]
    return out


FRAME = None


def polars_lazy():
    global FRAME
    if FRAME is None:
        symbol = np.repeat(np.arange(SYMBOLS, dtype=np.int32), BARS)
        names = ("high", "low", "close", "volume", "vwap")
        columns = {n: f.ravel() for n, f in zip(names, (HIGH, LOW, CLOSE, VOLUME, VWAP))}
        FRAME = pl.DataFrame({"symbol": symbol, **columns}).with_columns(pl.col("vwap").fill_nan(None))
    close, volume = pl.col("close"), pl.col("volume")
    typical = (pl.col("high") + pl.col("low") + close) / 3.0
    traded = (pl.coalesce(pl.col("vwap"), typical) * volume).tail(20).sum()
    change = close.diff()
    up, down = change.clip(lower_bound=0.0), (-change).clip(lower_bound=0.0)

    # Its average starts with the first change, not with the mean of the first 14: after 252 bars a few 1e-7 off.
    frame = (
        FRAME.lazy()
        .group_by("symbol", maintain_order=True)
        .agg(
            close.tail(5).mean().alias("five"),
            close.tail(20).mean().alias("twenty"),
            up.ewm_mean(alpha=1.0 / 14.0, adjust=False, ignore_nulls=True).last().alias("gain"),
            down.ewm_mean(alpha=1.0 / 14.0, adjust=False, ignore_nulls=True).last().alias("loss"),
            (traded / volume.tail(20).sum()).alias("vwap"),
        )
        .with_columns((100.0 * pl.col("gain") / (pl.col("gain") + pl.col("loss"))).alias("rsi"))
        .collect()
    )
    return np.stack([frame[name].to_numpy() for name in ("five", "twenty", "rsi", "vwap")])


PEERS = {
    "numba": numba_blocked,
    "numba_fused": numba_fused,
    "numba_series": numba_series,
    "talib": talib_loop,
    "polars": polars_lazy,
}

print("ready", *PEERS, flush=True)
for line in sys.stdin:
    word, name, what = line.split()
    peer = PEERS[name]
    if word == "check":
        np.ascontiguousarray(peer().T).tofile(what)
        print("written", flush=True)
    else:
        taken = []
        for _ in range(int(what)):
            started = time.perf_counter_ns()
            peer()
            taken.append(time.perf_counter_ns() - started)
        print(*taken, flush=True)
