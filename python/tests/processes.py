"""Real processes for tests: the simulated provider and the server, each on a free port, ended with the test."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BINARY_UNDER_TEST", str(ROOT / "target/debug/panscan"))
GROUPED = "/v2/aggs/grouped"
READY_SECONDS = 60


def recorded(name: str) -> pathlib.Path | None:
    """A file of the recorded data, or nothing where there is none."""
    folder = pathlib.Path(os.environ.get("PANSCAN_TEST_DATA") or ROOT.parent / "shared/data")
    path = folder / name
    return path if path.exists() else None


def environment(settings: dict[str, str]) -> dict[str, str]:
    """What a child may see: nothing of the settings that the machine happens to have."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return kept | {"RUST_BACKTRACE": "1"} | settings


class Process:
    """One panscan process that said that it is ready."""

    def __init__(self, *arguments: str, binary: str = BINARY, **settings: str):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="panscan-test-"))
        ready = self.folder / "ready.json"
        command = [binary, *map(str, arguments), "--ready-file", str(ready)]
        with open(self.folder / "log", "wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(settings)
            )
        end = time.monotonic() + READY_SECONDS
        while not ready.exists():
            if self.child.poll() is not None or time.monotonic() > end:
                self.close()
                raise RuntimeError(f"{' '.join(command)} did not get ready:\n{self.log()}")
            time.sleep(0.01)
        self.ready = json.loads(ready.read_text())

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "log").read_text(errors="replace")[-8000:]

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def terminate(self, seconds: float = 20) -> int:
        """Asks it to end and returns its exit code."""
        self.child.terminate()
        return self.child.wait(seconds)

    def close(self) -> None:
        """Ends it whatever state it is in."""
        if self.child.poll() is None:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sim(Process):
    """The simulated provider."""

    def __init__(self, *arguments: str):
        super().__init__("sim", "--listen", "127.0.0.1:0", *arguments)
        self.url = "http://" + self.ready["http"].removeprefix("http://")

    def get(self, path: str):
        """The body of a GET, which must succeed."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": "Bearer test"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, body: str):
        """The body of the answer to a POST, which must succeed."""
        request = urllib.request.Request(self.url + path, data=body.encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def audit(self) -> dict:
        """Calls by path and violations of the limit."""
        return json.loads(self.get("/_sim/audit"))

    def grouped(self) -> int:
        """Calls for whole market days so far."""
        return sum(count for path, count in self.audit()["calls"].items() if path.startswith(GROUPED))


class Server(Process):
    """The service, against a simulator."""

    def __init__(self, sim: Sim, store: pathlib.Path, *arguments: str, rate: str = "1000/s", **settings: str):
        burst = rate.split("/")[0]
        defaults = {
            "PANSCAN_CLOCK": "provider",
            "PANSCAN_HISTORY_DAILY": "252",
            "PANSCAN_RATE_LIMIT": rate,
            "PANSCAN_RATE_BURST": burst if burst.isdigit() else "1000",
            "PANSCAN_REDIS_URL": "",
            "POLYGON_API_KEY": "test",
        }
        address = ["--listen", "127.0.0.1:0", "--provider", sim.url, "--store", str(store)]
        super().__init__("serve", *address, *arguments, **(defaults | settings))
        self.target = self.ready["grpc"]


@contextlib.contextmanager
def folder():
    """A folder that goes away."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="panscan-store-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run(*arguments: str, binary: str = BINARY, **settings: str) -> subprocess.CompletedProcess:
    """Runs a command to its end."""
    return subprocess.run(
        [binary, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(settings),
        check=False,
    )


def until(condition, what: str, seconds: float = 60):
    """Waits for a condition; the wait is bounded and says what it was for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.01)
