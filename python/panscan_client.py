"""A small client of panscan, written from the .proto files alone.

The stubs are generated, not committed:

    python -m grpc_tools.protoc -Iproto --python_out=stubs --grpc_python_out=stubs proto/panscan/v1/*.proto

With `stubs` on the module path (`cargo xtask test` keeps its own in target/python-stubs):

    from panscan_client import Panscan

    with Panscan("127.0.0.1:50051") as market:
        scan = market.scan("rsi(14) < 30", columns=["close", "rsi(14)"], rank_by="volume", limit=20)
        for row in scan.rows():
            print(row)

Values come as columns: NumPy arrays of float64 with NaN for null, lists for everything else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import grpc
import numpy as np
import pyarrow as pa
from panscan.v1 import scanner_pb2, scanner_pb2_grpc, types_pb2, universes_pb2, universes_pb2_grpc

WIRE_FORMATS = {
    "rows": types_pb2.RESULT_FORMAT_ROWS,
    "columns": types_pb2.RESULT_FORMAT_COLUMNS,
    "arrow": types_pb2.RESULT_FORMAT_ARROW,
}


class BrokenStream(Exception):
    """The frames of a stream came in an order that the contract rules out."""


@dataclass
class Scan:
    """One scan's answer: what the header said, the cells by column, and what the summary said."""

    header: types_pb2.ScanHeader | None = None
    summary: scanner_pb2.ScanSummary | None = None
    diagnostics: list = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    cells: dict[str, list] = field(default_factory=dict)
    batches: int = 0

    def column(self, name: str) -> np.ndarray:
        """A numeric column with NaN for null."""
        return np.array([np.nan if cell is None else cell for cell in self.cells[name]], dtype=np.float64)

    def rows(self):
        """Each row as a dict, best first."""
        for at, (rank, symbol) in enumerate(zip(self.ranks, self.symbols)):
            yield {"rank": rank, "symbol": symbol} | {name: cells[at] for name, cells in self.cells.items()}

    def reasons(self) -> set[str]:
        """The words of the diagnostics."""
        return {diagnostic.reason for diagnostic in self.diagnostics}


@dataclass
class History:
    """The same scan as of many sessions: each one's cells by its date, and what was said of it with its last batch."""

    header: types_pb2.ScanHeader | None = None
    summary: scanner_pb2.ScanSummary | None = None
    diagnostics: list = field(default_factory=list)
    sessions: dict[str, Scan] = field(default_factory=dict)
    last: dict[str, scanner_pb2.HistoryBatch] = field(default_factory=dict)

    def reasons(self) -> set[str]:
        """The words of the diagnostics."""
        return {diagnostic.reason for diagnostic in self.diagnostics}


class Panscan:
    """A connection to one server; close it or use it in a `with`."""

    def __init__(self, target: str):
        options = [("grpc.max_receive_message_length", 16 << 20)]
        self.channel = grpc.insecure_channel(target, options=options)
        self.scanner = scanner_pb2_grpc.ScannerStub(self.channel)
        self.universes = universes_pb2_grpc.UniversesStub(self.channel)

    def __enter__(self) -> Panscan:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self.channel.close()

    def scan(self, filter: str = "", *, form: str = "columns", timeout: float = 60.0, **fields) -> Scan:
        """Runs one scan and collects it.

        `columns`, `rank_by`, `order`, `limit`, `adjustment`, `universe`, ... are fields of ScanSpec; `as_of`,
        `snapshot_id`, `data_policy`, `page_token`, ... are fields of the request.
        """
        return collect(self.frames(filter, form=form, timeout=timeout, **fields), form)

    def table(self, filter: str = "", *, timeout: float = 60.0, **fields) -> pa.Table:
        """Runs one scan and returns its rows as an Arrow table, with `rank` and `symbol` in front."""
        frames = self.frames(filter, form="arrow", timeout=timeout, **fields)
        stream = b"".join(frame.arrow.ipc_message for frame in frames if frame.WhichOneof("frame") == "arrow")
        with pa.ipc.open_stream(stream) as reader:
            return reader.read_all()

    def frames(self, filter: str = "", *, form: str = "columns", timeout: float = 60.0, **fields):
        """The same scan as the server streams it, frame by frame; `cancel()` on it ends the call."""
        spec_fields = types_pb2.ScanSpec.DESCRIPTOR.fields_by_name
        spec = {name: fields.pop(name) for name in list(fields) if name in spec_fields}
        request = scanner_pb2.ScanUniverseRequest(
            scan=types_pb2.ScanSpec(filter=filter, **spec), format=WIRE_FORMATS[form], **fields
        )
        return self.scanner.ScanUniverse(request, timeout=timeout)

    def history(
        self, start: str, end: str, filter: str = "", *, step: int = 1, form: str = "columns", timeout=300.0, **fields
    ) -> History:
        """Runs one scan as of the end of every `step`-th session from `start` to `end`, and collects it."""
        return collect_history(self.past(start, end, filter, step=step, form=form, timeout=timeout, **fields), form)

    def past(
        self, start: str, end: str, filter: str = "", *, step: int = 0, form: str = "columns", timeout=300.0, **fields
    ):
        """The same as the server streams it, frame by frame; `cancel()` on it ends the call."""
        spec_fields = types_pb2.ScanSpec.DESCRIPTOR.fields_by_name
        spec = {name: fields.pop(name) for name in list(fields) if name in spec_fields}
        request = scanner_pb2.ScanHistoryRequest(
            scan=types_pb2.ScanSpec(filter=filter, **spec),
            start_date=start,
            end_date=end,
            step=step,
            format=WIRE_FORMATS[form],
            **fields,
        )
        return self.scanner.ScanHistory(request, timeout=timeout)

    def save(self, name: str, filter: str = "", *, description: str = "", timeout: float = 30.0, **spec):
        """Saves a scan under a new name; `scan(saved_scan="scans/NAME")` runs it."""
        scan = types_pb2.ScanSpec(filter=filter, **spec)
        saved = scanner_pb2.SavedScan(scan=scan, description=description)
        request = scanner_pb2.CreateSavedScanRequest(saved_scan_id=name, saved_scan=saved)
        return self.scanner.CreateSavedScan(request, timeout=timeout)

    def saved(self, *, page_size: int = 0, timeout: float = 30.0):
        """Every saved scan, by name."""
        token = ""
        while True:
            request = scanner_pb2.ListSavedScansRequest(page_size=page_size, page_token=token)
            page = self.scanner.ListSavedScans(request, timeout=timeout)
            yield from page.saved_scans
            token = page.next_page_token
            if not token:
                return

    def name_universe(self, name: str, *, symbols=(), filter: str = "", timeout: float = 30.0):
        """Names a universe: symbols, or a filter over attributes."""
        definition = universes_pb2.UniverseDefinition(symbols=symbols, filter=filter)
        request = universes_pb2.CreateUniverseRequest(
            universe_id=name, universe=universes_pb2.Universe(definition=definition)
        )
        return self.universes.CreateUniverse(request, timeout=timeout)

    def statistics(self, *exprs: str, timeout: float = 60.0, **fields):
        """Statistics of expressions by group: {expression: {group: GroupStatistic}}, and the whole answer.

        `by`, `percentiles`, `universe`, `snapshot_id`, ... are fields of the request.
        """
        request = universes_pb2.GetGroupStatisticsRequest(exprs=exprs, **fields)
        answer = self.universes.GetGroupStatistics(request, timeout=timeout)
        return {e.expr: {g.group: g for g in e.groups} for e in answer.expressions}, answer


def collect(frames, form: str) -> Scan:
    """Reads a stream to its end and holds it against the framing rules of the contract."""
    scan, arrow = Scan(), []
    for frame in frames:
        kind = frame.WhichOneof("frame")
        if scan.summary is not None:
            raise BrokenStream(f"{kind} after the summary")
        if (kind == "header") != (scan.header is None):
            raise BrokenStream(f"{kind}: the header is first and comes once")
        if kind == "header":
            scan.header = frame.header
            scan.cells = {column.name: [] for column in frame.header.columns}
        elif kind == "diagnostic":
            scan.diagnostics.append(frame.diagnostic)
        elif kind == "summary":
            scan.summary = frame.summary
        elif kind != form:
            raise BrokenStream(f"{kind} where {form} was asked for")
        elif kind == "rows":
            scan.batches += 1
            take_rows(scan, frame.rows)
        elif kind == "columns":
            scan.batches += 1
            take_columns(scan, frame.columns)
        else:
            arrow.append(frame.arrow.ipc_message)
    if scan.summary is None:
        raise BrokenStream("the stream ended without a summary")
    if arrow:
        take_arrow(scan, b"".join(arrow))
    return scan


def collect_history(frames, form: str) -> History:
    """Reads a stream of sessions to its end and holds it against the framing rules of the contract."""
    history, arrow = History(), []
    for frame in frames:
        kind = frame.WhichOneof("frame")
        if history.summary is not None:
            raise BrokenStream(f"{kind} after the summary")
        if (kind == "header") != (history.header is None):
            raise BrokenStream(f"{kind}: the header is first and comes once")
        if kind == "header":
            history.header = frame.header
        elif kind == "diagnostic":
            history.diagnostics.append(frame.diagnostic)
        elif kind == "summary":
            history.summary = frame.summary
        else:
            batch = frame.batch
            if batch.session_date in history.last or any(date > batch.session_date for date in history.sessions):
                raise BrokenStream(f"{batch.session_date} comes late")
            columns = {column.name: [] for column in history.header.columns}
            scan = history.sessions.setdefault(batch.session_date, Scan(header=history.header, cells=columns))
            if batch.HasField("rows"):
                take_rows(scan, batch.rows)
            if batch.HasField("columns"):
                take_columns(scan, batch.columns)
            if batch.HasField("arrow"):
                arrow.append((batch.session_date, batch.arrow.ipc_message))
            if batch.last:
                history.last[batch.session_date] = batch
    if history.summary is None:
        raise BrokenStream("the stream ended without a summary")
    if set(history.last) != set(history.sessions):
        raise BrokenStream("a session has no last batch")
    if arrow:
        take_arrow_sessions(history, arrow)
    return history


def take_arrow_sessions(history: History, messages: list[tuple[str, bytes]]) -> None:
    """One Arrow stream goes over all sessions; a batch belongs to the session that its message came with."""
    owners = [date for date, message in messages if pa.ipc.read_message(message).type == "record batch"]
    with pa.ipc.open_stream(b"".join(message for _, message in messages)) as reader:
        for date, batch in zip(owners, reader, strict=True):
            scan, table = history.sessions[date], batch.to_pydict()
            scan.ranks.extend(table.pop("rank"))
            scan.symbols.extend(table.pop("symbol"))
            for name, cells in table.items():
                scan.cells[name].extend(cells)


def take_rows(scan: Scan, batch: scanner_pb2.RowBatch) -> None:
    for row in batch.rows:
        scan.ranks.append(row.rank)
        scan.symbols.append(row.symbol)
        for name, cells in scan.cells.items():
            value = row.values.fields[name]
            kind = value.WhichOneof("kind")
            cells.append(None if kind == "null_value" else getattr(value, kind))


def take_columns(scan: Scan, batch: scanner_pb2.ColumnBatch) -> None:
    rows = len(batch.symbols)
    scan.ranks.extend(range(batch.first_rank, batch.first_rank + rows))
    scan.symbols.extend(batch.symbols)
    for (name, cells), data in zip(scan.cells.items(), batch.data, strict=True):
        values = getattr(data, data.WhichOneof("values"))
        if isinstance(values, types_pb2.DictionaryColumn):
            # the index of a null means nothing, and where all are null there is no text
            words = list(values.dictionary) or [""]
            texts = [words[at] for at in values.indices]
        else:
            texts = list(values.values)
        bits = np.frombuffer(data.validity, dtype=np.uint8)
        present = np.unpackbits(bits, bitorder="little")[:rows] if data.validity else np.ones(rows)
        if len(texts) != rows or len(present) != rows:
            raise BrokenStream(f"column {name} has {len(texts)} cells in a batch of {rows} rows")
        cells.extend(text if here else None for text, here in zip(texts, present))


def take_arrow(scan: Scan, stream: bytes) -> None:
    with pa.ipc.open_stream(stream) as reader:
        for batch in reader:
            scan.batches += 1
            table = batch.to_pydict()
            scan.ranks.extend(table.pop("rank"))
            scan.symbols.extend(table.pop("symbol"))
            if list(table) != list(scan.cells):
                raise BrokenStream(f"the columns are {list(table)}, the header has {list(scan.cells)}")
            for name, cells in table.items():
                scan.cells[name].extend(cells)


def main() -> None:
    """Prints a scan: `python panscan_client.py 127.0.0.1:50051 'rsi(14) < 30' close 'rsi(14)'`."""
    target, filter, *columns = sys.argv[1:] or ["127.0.0.1:50051", ""]
    with Panscan(target) as market:
        scan = market.scan(filter, columns=columns, limit=20)
    for row in scan.rows():
        print(row)
    print(f"{scan.summary.matched} of {scan.summary.scanned} symbols, complete: {scan.summary.complete}")


if __name__ == "__main__":
    main()
