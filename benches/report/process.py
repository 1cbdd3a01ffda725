"""Servers as processes: started, pinned, watched, ended; and what they use.

Servers and generator have a CPU each and, where that is allowed, are scheduled before all else
(`chrt`), so that a neighbour does not change how many messages a wake-up brings. Where a server fills
its CPU and latencies count, it is an ordinary task (`ORDINARY`): the kernel stops tasks of the other
kind for 50 ms of a second in which they leave nothing to others (`kernel.sched_rt_runtime_us`).
"""

import contextlib
import contextvars
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import journal
from machine import ROOT

BIN = ROOT / "target" / "release"
HOST = "127.0.0.1"
UNLIMITED = "admission.connections_per_ip=0"


class Failed(Exception):
    """A figure cannot be had; the message says why."""


def _allowed(*words):
    """The words before a command, if this user may say them."""
    with contextlib.suppress(OSError):
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return list(words)
    return []


# Before all others. Threads take turns (`--rr`): one of node's would otherwise wait for ever for another on the
# same CPU.
FIRST = _allowed("chrt", "--rr", "10")
# An ordinary task, with the largest share of its CPU.
ORDINARY = _allowed("nice", "-n", "-20")
# A second generator, that measures beside one that makes load, goes before it.
BEFORE = [*FIRST[:-1], "20"] if FIRST else []


@dataclass
class Server:
    """One that runs."""

    pid: int
    port: int
    # Of our server: the port of its control plane.
    control: int = 0

    def url(self, path="/"):
        return f"ws://{HOST}:{self.port}{path}"


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_for(port, process):
    for _ in range(200):
        if process.poll() is not None:
            raise Failed(f"{process.args[-1]}: ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise Failed(f"{process.args}: does not listen")


# What was started and has not ended: a section that fails or takes too long leaves nothing behind.
_running = set()


def run(command):
    """Runs a command to its end; what it printed."""
    words = [str(word) for word in command]
    journal.ran(words)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _running.add(process)
    try:
        out, err = process.communicate()
    finally:
        _end(process, 0)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _end(process, patience):
    if process.poll() is None and patience:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
        process.wait()
    _running.discard(process)


def end_all():
    """Ends whatever still runs."""
    for process in list(_running):
        _end(process, 0)


@contextlib.contextmanager
def _started(words, environment=None):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _running.add(process)
    try:
        yield process
    finally:
        _end(process, 20)


@contextlib.contextmanager
def started(*command, port, control=0, environment=None, first=None):
    """Runs a server until the block ends."""
    words = [str(word) for word in (*(FIRST if first is None else first), *command)]
    journal.ran("PORT" if word == str(port) else word for word in words)
    with _started(words, environment) as process:
        _wait_for(port, process)
        yield Server(process.pid, port, control)


@contextlib.contextmanager
def running(*command):
    """Runs a program that is no server until the block ends."""
    words = [str(word) for word in command]
    journal.ran(words)
    with _started(words):
        yield


@contextlib.contextmanager
def share_of_a_cpu(share):
    """While the block runs, a server on the first CPU that is an ordinary task has so much of it: it is full when the
    generator, which has the other, is not. The rest is taken in slices too short to be seen in a latency."""
    with running(*FIRST, "taskset", "-c", "0", sys.executable, Path(__file__).with_name("occupant.py"), 1 - share):
        yield


@contextlib.contextmanager
def ringroom(cores=1, cpus="0", settings=(), listeners=None, first=None):
    """Our server, on a plain port, or with the listeners that `listeners`, a file made for a port, describes."""
    port, control = free_port(), free_port()
    options = ["dev.echo=true", "drain.window_ms=1000", *settings]
    sets = [word for option in options for word in ("--set", option)]
    listen = ["--listen", f"{HOST}:{port}"]
    if listeners:
        file = listeners(port)
        journal.wrote(file)
        listen = ["--config", file]
    with started(BIN / "ringroom", "serve", *listen, "--control", f"{HOST}:{control}", "--cpus", cpus,
                 "--cores", cores, *sets, port=port, control=control, first=first) as server:
        yield server


@contextlib.contextmanager
def floor(name):
    """One of the least programs, `benches/floor`."""
    port = free_port()
    with started(BIN / name, "--port", port, "--cpu", 0, port=port) as server:
        yield server


def cpu_ns(pid):
    """CPU time of all threads, as the scheduler accounts it."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def descriptors(pid):
    """Open files, of all threads where each has a table of its own."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    cores = [task for task in tasks if (task / "comm").read_text().startswith("core-")]
    return sum(1 for task in cores or tasks[:1] for _ in (task / "fd").iterdir())


def wait_until_open(server, count, within=120):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if descriptors(server.pid) >= count:
            return
        time.sleep(0.5)
    raise Failed(f"{count} connections did not open")


def busy(server, seconds):
    """The CPUs that the server uses for so long."""
    before, began = cpu_ns(server.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(server.pid) - before) / 1e9 / (time.monotonic() - began)


def beside(run, *arguments, **options):
    """Begins it in a thread, as a part of the run that begins it. The function that is given back waits for it, and
    has its result."""
    result, context = {}, contextvars.copy_context()

    def work():
        try:
            result["value"] = context.run(run, *arguments, **options)
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def wait():
        thread.join()
        if "error" in result:
            raise result["error"]
        return result["value"]

    return wait


def metric(server, name):
    url = f"http://{HOST}:{server.control}/metrics"
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(name)]
    if not lines:
        raise Failed(f"the server has no metric {name}")
    return lines


def total(server, name):
    """The sum of a metric's series."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metric(server, name))


def quantile(lines, share, earlier=()):
    """The bound of the bucket in which the share of what a Prometheus histogram has counted since earlier
    lies, all cores together; it cannot be had of nothing."""
    buckets = {}
    for line, sign in [*((line, 1) for line in lines), *((line, -1) for line in earlier)]:
        found = re.match(r'\S+_bucket\{.*le="([^"]+)".*\} (\d+)', line)
        if found:
            buckets[float(found[1])] = buckets.get(float(found[1]), 0) + sign * int(found[2])
    count = max(buckets.values(), default=0)
    if not count:
        raise Failed(f"nothing was counted in {lines[0].split('{')[0] if lines else 'a histogram that is not there'}")
    return next(bound for bound, below in sorted(buckets.items()) if below >= share * count)
