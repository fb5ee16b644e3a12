#!/bin/sh
# Scans from a terminal. The server describes itself, so grpcurl needs no .proto file.
set -eu
server=${1:-127.0.0.1:50051}

# what there is
grpcurl -plaintext "$server" list
grpcurl -plaintext "$server" describe panscan.v1.ScanSpec

# the shortest scan: the first 100 symbols
grpcurl -plaintext -d '{}' "$server" panscan.v1.Scanner/ScanUniverse

# a filter, an order, columns; backticks around text spare the quotes
grpcurl -plaintext -d '{"scan": {
    "filter": "rsi(14) < 30 and sector == `Technology`",
    "columns": ["close", "rsi(14)", "strength = close / sma(50)"],
    "rank_by": "strength", "order": "SORT_ORDER_ASC", "limit": 20
}}' "$server" panscan.v1.Scanner/ScanUniverse

# every mistake of a scan at once, with its place
grpcurl -plaintext -d '{"scan": {"filter": "smaa(20) > clos"}}' "$server" panscan.v1.Scanner/ValidateScan

# what functions there are
grpcurl -plaintext -d '{"page_size": 5}' "$server" panscan.v1.Indicators/ListFunctions
