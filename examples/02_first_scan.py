"""The ten most oversold symbols, over the generated stubs and nothing else."""

import sys

import grpc
from panscan.v1 import scanner_pb2, scanner_pb2_grpc, types_pb2

server = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
scan = types_pb2.ScanSpec(
    filter="rsi(14) < 40",
    columns=["close", "rsi(14)"],
    rank_by="rsi(14)",
    order=types_pb2.SORT_ORDER_ASC,
    limit=10,
)

with grpc.insecure_channel(server) as channel:
    stub = scanner_pb2_grpc.ScannerStub(channel)
    for frame in stub.ScanUniverse(scanner_pb2.ScanUniverseRequest(scan=scan), timeout=60):
        kind = frame.WhichOneof("frame")
        if kind == "rows":
            for row in frame.rows.rows:
                print(row.rank, row.symbol, dict(row.values))
        elif kind == "diagnostic":
            print(f"{frame.diagnostic.reason}: {frame.diagnostic.message}", file=sys.stderr)
        elif kind == "summary":
            print(f"{frame.summary.matched} of {frame.summary.scanned}, complete: {frame.summary.complete}")
