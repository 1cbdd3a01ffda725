#!/usr/bin/env python3
"""The README's figures, measured anew: each as a ratio or a count taken in one run.

    cargo build --release --workspace
    benches/figures.py [NAME …]      all of them, or some: echo idle fanout timers dribble

Servers and generator are pinned to a CPU each and, where that is allowed, scheduled before all
else (`chrt`), so that a neighbour does not change how many messages a wake-up brings. Compared
servers run in turn, A B A B …, and the median of the ratios is taken: machines drift, ratios of one
run do not. CPU is what the scheduler accounts to the server's threads, in nanoseconds. Exit code 1
if a target is missed.
"""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

BIN = Path(__file__).resolve().parent.parent / "target" / "release"
HOST = "127.0.0.1"
ROUNDS = 5


def first_in_line():
    """The words that put a command before all others, if this user may."""
    words = ["chrt", "--fifo", "10"]
    with contextlib.suppress(OSError):
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return []


FIRST = first_in_line()


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    for _ in range(100):
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    sys.exit("the server does not listen")


@contextlib.contextmanager
def started(*command, port):
    process = subprocess.Popen([*FIRST, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()


@contextlib.contextmanager
def ringroom(*flags, cores=1, cpus="0", settings=()):
    port, control = free_port(), free_port()
    options = ["dev.echo=true", "drain.window_ms=1000", *settings]
    sets = [word for option in options for word in ("--set", option)]
    command = [BIN / "ringroom", "serve", "--listen", f"{HOST}:{port}", "--control", f"{HOST}:{control}",
               "--cpus", cpus, "--cores", str(cores), *sets, *flags]
    with started(*command, port=port) as process:
        yield process, port, control


@contextlib.contextmanager
def floor(name):
    port = free_port()
    with started(BIN / name, "--port", str(port), "--cpu", "0", port=port) as process:
        yield process, port, None


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


def load(*arguments):
    """Runs the generator; its report, or an end if the run cannot be believed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [*FIRST, BIN / "ringroom-loadgen", *map(str, arguments), "--json", report.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not os.path.getsize(report.name):
            sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        phase = json.load(open(report.name))["phases"][0]
    for doubt in phase["invalid"]:
        print(f"   doubt: {doubt}")
    return phase


def sampled_cpu(pid, seconds, run):
    """Runs `run` in a thread; the server's CPU over the middle `seconds` of it."""
    result = {}
    thread = threading.Thread(target=lambda: result.update(report=run()))
    thread.start()
    time.sleep(2)
    began, before = time.monotonic(), cpu_ns(pid)
    time.sleep(seconds)
    used, passed = cpu_ns(pid) - before, time.monotonic() - began
    thread.join()
    return used, passed, result["report"]


VERDICTS = []


def verdict(name, value, target, unit=""):
    met = value <= target
    VERDICTS.append(met)
    print(f"{'ok  ' if met else 'MISS'} {name}: {value:.3f}{unit} (target: at most {target}{unit})")


def echo_cost(server, path):
    process, port, _ = server
    used = cpu_ns(process.pid)
    client = [*FIRST, BIN / "floor-uring-client", "--port", str(port), "--path", path, "--cpu", "1", "--count",
              "200", "--size", "32", "--seconds", "4"]
    done = json.loads(subprocess.run(client, capture_output=True, check=True).stdout)
    return (cpu_ns(process.pid) - used) / max(1, done["messages"])


def echo():
    """CPU per message of an echo, 200 connections, 32 B, against a bare epoll loop."""
    with ringroom() as ours, floor("floor-epoll-echo") as bare:
        pairs = [(echo_cost(ours, "/echo"), echo_cost(bare, "/")) for _ in range(ROUNDS)]
    ours_ns, bare_ns = (statistics.median(side) for side in zip(*pairs))
    ratios = sorted(ours / bare for ours, bare in pairs)
    print(f"     echo: {ours_ns:.0f} ns, bare epoll {bare_ns:.0f} ns; ratios {ratios[0]:.3f} to {ratios[-1]:.3f}")
    verdict("echo, CPU per message, times bare epoll", statistics.median(ratios), 1.05)


def idle(count=50_000, seconds=60):
    """Memory and CPU of idle connections, heartbeats on, in one process of four cores."""
    with ringroom(cores=4, cpus="0,1", settings=["admission.connections_per_ip=0"]) as (process, port, _):
        time.sleep(1)
        before = resident_bytes(process.pid)
        held = {}

        def hold():
            return load("hold", "-n", count, "--seconds", seconds + 10, "--dialect", "raw", "--url",
                        f"ws://{HOST}:{port}/echo", "--sources", "127.0.0.2-127.0.0.9")

        thread = threading.Thread(target=lambda: held.update(report=hold()))
        thread.start()
        wait_until_open(process, port, count)
        time.sleep(5)
        began, cpu = time.monotonic(), cpu_ns(process.pid)
        time.sleep(seconds)
        cpu = (cpu_ns(process.pid) - cpu) / 1e3 / (time.monotonic() - began) / count
        memory = (resident_bytes(process.pid) - before) / count
        thread.join()
    report = held["report"]
    lost = count - report["held"]
    print(f"     idle: {count} connections for {seconds} s, {lost} lost")
    verdict("idle, resident memory per connection", memory / 1024, 1.0, " KB")
    verdict("idle, CPU per connection and second", cpu, 1.0, " µs")
    verdict("idle, connections lost", lost, 0)


def wait_until_open(process, port, count):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        descriptors = sum(1 for task in Path(f"/proc/{process.pid}/task").iterdir()
                          if (task / "comm").read_text().startswith("core-")
                          for _ in (task / "fd").iterdir())
        if descriptors >= count:
            return
        time.sleep(0.5)
    sys.exit(f"{count} connections did not open")


def fanout_cost(server, path, in_flight, dialect):
    process, port, _ = server
    used = cpu_ns(process.pid)
    report = load("fanout", "--rooms", 1, "--members", 1000, "--publishers", 1, "--seconds", 5, "--size", 64,
                  "--in-flight", in_flight, "--dialect", dialect, "--url", f"ws://{HOST}:{port}{path}",
                  "--cpus", 1)
    used = cpu_ns(process.pid) - used
    return used / max(1, report["totals"]["received"])


def fanout():
    """CPU per delivery in a room of 1,000, against bare sends of the same bytes."""
    with ringroom() as ours, floor("floor-uring-fanout") as bare:
        rows = [(fanout_cost(ours, "/ws", 1, "ringroom"), fanout_cost(ours, "/ws", 16, "ringroom"),
                 fanout_cost(bare, "/", 1, "raw")) for _ in range(ROUNDS)]
    one, many, bare_ns = (statistics.median(side) for side in zip(*rows))
    print(f"     fanout: 1 in flight {one:.0f} ns, 16 in flight {many:.0f} ns, bare sends {bare_ns:.0f} ns a delivery")
    verdict("fanout, 1 in flight, times bare sends", statistics.median(r[0] / r[2] for r in rows), 1.15)
    verdict("fanout, 16 in flight, times bare sends", statistics.median(r[1] / r[2] for r in rows), 0.09)


def metric(control, name):
    text = urllib.request.urlopen(f"http://{HOST}:{control}/metrics", timeout=10).read().decode()
    return [line for line in text.splitlines() if line.startswith(name)]


def quantile(lines, share):
    """The bound of the bucket in which the share of a Prometheus histogram lies, all cores together."""
    buckets = {}
    for line in lines:
        found = re.match(r'\S+_bucket\{.*le="([^"]+)".*\} (\d+)', line)
        if found:
            buckets[float(found[1])] = buckets.get(float(found[1]), 0) + int(found[2])
    total = max(buckets.values(), default=0)
    return next((bound for bound, count in sorted(buckets.items()) if total and count >= share * total), 0.0)


def timers():
    """Lateness of timers while a core is asked for half as much again as it can do."""
    with ringroom() as (process, port, control):
        url = f"ws://{HOST}:{port}/echo"
        best = load("echo", "-n", 200, "--seconds", 4, "--in-flight", 8, "--size", 32, "--dialect", "raw-binary",
                    "--url", url, "--cpus", 1)
        capacity = best["measured"]["received"] / best["seconds"]
        load("echo", "-n", 200, "--seconds", 10, "--rate", int(capacity * 1.5), "--size", 32, "--dialect",
             "raw-binary", "--url", url, "--cpus", 1)
        late = quantile(metric(control, "ringroom_timer_lateness_seconds"), 0.99)
    print(f"     timers: offered 1.5 times {capacity:.0f} messages a second")
    verdict("timers, lateness p99 at 150 % load", late * 1e3, 100, " ms")


def handshake_ms(port):
    began = time.perf_counter()
    with socket.create_connection((HOST, port), 5) as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 101")
    return (time.perf_counter() - began) * 1e3


def dribble(count=2_000):
    """Handshakes of honest clients while others send theirs byte by byte."""
    head = b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"a" * 4_000
    with ringroom(settings=["handshake.deadline_ms=30000", "admission.connections_per_ip=0"]) as (_, port, _):
        alone = sorted(handshake_ms(port) for _ in range(500))
        clients = [socket.create_connection((HOST, port), 5) for _ in range(count)]
        stop = threading.Event()

        def drip():
            for position in range(len(head)):
                for client in clients:
                    if stop.is_set():
                        return
                    with contextlib.suppress(OSError):
                        client.send(head[position:position + 1])

        thread = threading.Thread(target=drip)
        thread.start()
        among = sorted(handshake_ms(port) for _ in range(500))
        stop.set()
        thread.join()
        for client in clients:
            client.close()
    p99_alone, p99_among = alone[494], among[494]
    print(f"     dribble: handshake p99 {p99_alone:.2f} ms alone, {p99_among:.2f} ms among {count} dribblers")
    verdict("dribble, handshake p99 above alone", p99_among - p99_alone, 50, " ms")


FIGURES = {function.__name__: function for function in (echo, idle, fanout, timers, dribble)}


def main():
    names = sys.argv[1:] or list(FIGURES)
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        sys.exit(f"no figure {unknown[0]}; there are {', '.join(FIGURES)}")
    print(f"kernel {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    for name in names:
        FIGURES[name]()
    sys.exit(0 if all(VERDICTS) else 1)


main()
