"""A whole market as one Arrow table, ready for pandas, Polars or DuckDB."""

import sys

import pyarrow.compute as pc
from panscan_client import Panscan

server = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"

with Panscan(server) as market:
    table = market.table(columns=["close", "month = roc(21)", "rsi(14)"], limit=50_000)

print(table.schema.to_string(show_schema_metadata=False))
print(f"{table.num_rows} symbols, {pc.sum(pc.greater(table['month'], 0)).as_py()} of them up over a month")
