#!/usr/bin/env python3
"""The README's figures, measured anew: each as a ratio or a count taken in one run.

    cargo build --release --workspace
    benches/figures.py [NAME …]      all of them, or some: echo idle fanout timers dribble joined
                                     rooms overload fairness goodput latency cores deflated

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


def load(*arguments, first=FIRST):
    """Runs the generator; its report, or an end if the run cannot be believed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [*first, BIN / "ringroom-loadgen", *map(str, arguments), "--json", report.name]
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


def verdict(name, value, target, unit="", least=False):
    met = value >= target if least else value <= target
    VERDICTS.append(met)
    bound = "at least" if least else "at most"
    print(f"{'ok  ' if met else 'MISS'} {name}: {value:.3f}{unit} (target: {bound} {target}{unit})", flush=True)


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


def fanout_cost(server, path, in_flight, dialect, *more, size=64, rate=None):
    process, port, _ = server
    used = cpu_ns(process.pid)
    pace = ["--in-flight", in_flight] if rate is None else ["--rate", rate]
    report = load("fanout", "--rooms", 1, "--members", 1000, "--publishers", 1, "--seconds", 5, "--size", size,
                  *pace, "--dialect", dialect, "--url", f"ws://{HOST}:{port}{path}",
                  "--cpus", 1, *more)
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


def total(control, name):
    """The sum of a metric's series."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metric(control, name))


def quantile(lines, share, earlier=()):
    """The bound of the bucket in which the share of what a Prometheus histogram has counted since earlier
    lies, all cores together."""
    buckets = {}
    for line, sign in [*((line, 1) for line in lines), *((line, -1) for line in earlier)]:
        found = re.match(r'\S+_bucket\{.*le="([^"]+)".*\} (\d+)', line)
        if found:
            buckets[float(found[1])] = buckets.get(float(found[1]), 0) + sign * int(found[2])
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


UNLIMITED = "admission.connections_per_ip=0"
# A second generator, that measures beside one that makes load, goes before it.
BEFORE = [*FIRST[:-1], "20"] if FIRST else []


def publish(port, rooms, members, *more, **options):
    """Publishes to rooms of a server; the generator has the second CPU."""
    return load("fanout", "--rooms", rooms, "--members", members, "--dialect", "ringroom", "--url",
                f"ws://{HOST}:{port}/ws", "--cpus", 1, *more, **options)


# Rooms so large that a message takes milliseconds to write: there the server is the limit, and not the
# generator, and what waits meanwhile is written together.
ROOMS, MEMBERS = 2, 1000


def peak(port):
    """Messages a second that are delivered when there is always more to do."""
    best = publish(port, ROOMS, MEMBERS, "--in-flight", 1, "--seconds", 5, "--warmup", 1)
    return best["measured"]["received"] / best["seconds"]


def offer(port, deliveries, *more):
    """Publishes for so many deliveries a second, whatever becomes of them."""
    return publish(port, ROOMS, MEMBERS, "--rate", deliveries / MEMBERS / ROOMS, *more)


def beside(run, *arguments, **options):
    """Begins it in a thread; its report is in the dictionary once the thread is over."""
    result = {}
    thread = threading.Thread(target=lambda: result.update(report=run(*arguments, **options)))
    thread.start()
    return thread, result


def busy(process, seconds):
    """The CPUs that the server uses for so long."""
    before, began = cpu_ns(process.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(process.pid) - before) / 1e9 / (time.monotonic() - began)


def joined(count=30_000):
    """Memory of idle connections that are each in a room of a hundred."""
    with ringroom(cores=4, cpus="0,1", settings=[UNLIMITED]) as (process, port, _):
        time.sleep(1)
        before = resident_bytes(process.pid)
        thread, held = beside(load, "hold", "-n", count, "--members", 100, "--seconds", 20, "--dialect", "ringroom",
                              "--url", f"ws://{HOST}:{port}/ws", "--sources", "127.0.0.2-127.0.0.9")
        wait_until_open(process, port, count)
        time.sleep(10)
        memory = (resident_bytes(process.pid) - before) / count
        thread.join()
    lost = count - held["report"]["held"]
    print(f"     joined: {count} connections in rooms of a hundred, {lost} lost")
    verdict("joined, resident memory per connection", memory / 1024, 1.5, " KB")
    verdict("joined, connections lost", lost, 0)


class Visitor:
    """A client that joins rooms and leaves them, a batch at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), 60)
        self.socket.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        self.read_until(b'"welcome"')

    def read_until(self, words):
        seen = b""
        while words not in seen:
            more = self.socket.recv(65_536)
            seen = seen[-200:] + more
            if not more or b'"error"' in seen:
                raise RuntimeError(f"the server said {seen}")

    def say(self, kind, names):
        """A batch, and its answer, which follows those of all its messages."""
        batch = {"type": "batch", "id": 1, "messages": [{"type": kind, "room": name} for name in names]}
        payload = json.dumps(batch).encode()
        self.socket.sendall(b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload)
        self.read_until(b'"id":1')

    def visit(self, first, last, at_once=100):
        for start in range(first, last, at_once):
            names = [f"fresh-{number}" for number in range(start, min(start + at_once, last))]
            self.say("join", names)
            self.say("leave", names)


def rooms(count=1_000_000, visitors=8):
    """Memory after so many joins and leaves of rooms in which nobody had been."""
    with ringroom(cores=2, cpus="0,1") as (process, port, control):
        clients = [Visitor(port) for _ in range(visitors)]

        def visit(first, last):
            share = (last - first) // visitors
            threads = [threading.Thread(target=client.visit, args=(first + index * share, first + (index + 1) * share))
                       for index, client in enumerate(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(3)
            return resident_bytes(process.pid)

        alone = total(control, "ringroom_rooms")
        cold = resident_bytes(process.pid)
        before = visit(0, count // 2)
        began = time.monotonic()
        after = visit(count // 2, count // 2 + count)
        left = total(control, "ringroom_rooms") - alone
        print(f"     rooms: {count} visited in {time.monotonic() - began:.0f} s, {cold >> 10} KB at first, "
              f"{before >> 10} KB after half as many, {after >> 10} KB after all")
    verdict("rooms, memory afterwards, times before", after / before, 1.05)
    verdict("rooms, still there", left, 0)


def overload(seconds=10):
    """Timers and inboxes while rooms ask for half as much again as can be done: one core, and two that share
    its CPU."""
    histograms = [f"ringroom_{name}_seconds" for name in ("timer_lateness", "inbox_delay", "loop_time")]
    for count in 1, 2:
        with ringroom(cores=count, settings=[UNLIMITED]) as (process, port, control):
            capacity = peak(port)
            earlier = [metric(control, name) for name in histograms]
            thread, _ = beside(offer, port, capacity * 1.5, "--seconds", seconds)
            time.sleep(2)
            share = busy(process, seconds - 3)
            thread.join()
            late, delay, tick = (quantile(metric(control, name), 0.99, before) * 1e3
                                 for name, before in zip(histograms, earlier))
        print(f"     overload, cores: {count}: offered 1.5 times {capacity:.0f} deliveries a second, {share:.2f} CPUs "
              f"busy, a tick at most {tick:.0f} ms at the 99th percentile")
        verdict("overload, timer lateness p99", late, 100, " ms")
        if count > 1:
            verdict("overload, inbox delay p99", delay, 50, " ms")


def quiet(port, seconds):
    """Latencies in a hundred rooms where little is said, as a generator that goes before the others sees them."""
    return publish(port, 100, 3, "--rate", 2, "--seconds", seconds, "--warmup", 1, first=BEFORE)


def fairness(seconds=10):
    """Quiet rooms beside one whose publishers never pause."""
    with ringroom(settings=[UNLIMITED]) as (process, port, _):
        alone = quiet(port, seconds)["latency"]
        # Not first in line itself: where such a process leaves nothing to others, the kernel stops all of its
        # kind for 50 ms in each second, the one that measures too.
        thread, _ = beside(publish, port, 1, 1000, "--publishers", 4, "--in-flight", 1, "--seconds", seconds + 6,
                           first=[])
        time.sleep(3)
        noisy, used = beside(quiet, port, seconds)
        share = busy(process, seconds)
        noisy.join()
        thread.join()
    among = used["report"]["latency"]
    figures = "; ".join(f"{name} {alone[name]} µs alone, {among[name]} µs beside" for name in ("p50", "p90", "p99"))
    print(f"     fairness: {figures}; {share:.2f} CPUs busy")
    verdict("fairness, quiet p99 beside a noisy room, times alone", among["p99"] / max(1, alone["p99"]), 3.0)


def goodput(seconds=10):
    """What is delivered when twice as much is offered as can be, and how soon all is well again."""
    with ringroom(settings=[UNLIMITED]) as (process, port, control):
        capacity = peak(port)
        probe, probed = beside(quiet, port, seconds + 20)
        began = time.monotonic()
        time.sleep(5)
        over = offer(port, capacity * 2, "--seconds", seconds, "--warmup", 1, "--drain", 0.1)
        ended = time.monotonic() - began
        probe.join()
        gaps = total(control, "ringroom_gaps")
    delivered = over["measured"]["received"] / over["seconds"]
    totals, series = over["totals"], probed["report"]["series"]
    calm = statistics.median(second["p99_us"] for second in series if 1 < second["at"] < 4)
    well = [second["at"] for second in series if second["at"] > ended and second["p99_us"] <= 3 * calm + 1000]
    recovery = min(well, default=float("inf")) - ended
    print(f"     goodput: {delivered:.0f} of {capacity:.0f} a second; unsent {totals['unsent']}, announced "
          f"{totals['announced_gaps']} (server: {gaps}), lost {totals['lost']}, ended {totals['dropped']}")
    verdict("goodput at 200 %, times the peak", delivered / capacity, 0.9, least=True)
    verdict("goodput, seconds until latencies are as before", recovery, 5, " s")


def latency(seconds=20):
    """Latencies in rooms of a hundred at half of the load that can be done, on one core and over two."""
    for name, options in ("same core", {}), ("across cores", {"cores": 2, "cpus": "0"}):
        with ringroom(settings=[UNLIMITED], **options) as (_, port, _):
            best = publish(port, 1, 100, "--in-flight", 1, "--seconds", 5, "--warmup", 1)
            capacity = best["measured"]["received"] / best["seconds"]
            at = publish(port, 1, 100, "--rate", capacity / 2 / 100, "--seconds", seconds, "--warmup", 1)["latency"]
        print(f"     latency, {name}, at half of {capacity:.0f} a second: p50 {at['p50']} µs, p99 {at['p99']} µs, "
              f"p99.9 {at['p999']} µs")
        verdict(f"latency, {name}, p99", at["p99"] / 1e3, 2, " ms")


def cores():
    """CPU per delivery of two cores, against one."""
    with ringroom() as one, ringroom(cores=2, cpus="0") as two:
        for in_flight in 1, 16:
            pairs = [[fanout_cost(server, "/ws", in_flight, "ringroom") for server in (two, one)]
                     for _ in range(ROUNDS)]
            two_ns, one_ns = (statistics.median(side) for side in zip(*pairs))
            print(f"     cores: {in_flight} in flight, two cores {two_ns:.0f} ns, one {one_ns:.0f} ns a delivery")
            verdict(f"cores, two, {in_flight} in flight, times one", statistics.median(a / b for a, b in pairs), 1.15)


def deflated(rate=50):
    """CPU per delivery of deflated JSON of 4 KB, against the compressed bytes sent as they are.

    At the same pace: the generator inflates what it receives, so left to itself it asks for a sixth as many
    messages, and a server that has less to do pays more for each.
    """
    with ringroom() as server:
        _, _, control = server

        def spent():
            names = ("compressed_bytes", "messages", "microseconds_total")
            return [total(control, f"ringroom_deflate_{name}") for name in names]

        before = spent()
        fanout_cost(server, "/ws", 1, "ringroom", "--deflate", size=4096, rate=rate)
        count_bytes, count, spent_us = (after - first for after, first in zip(spent(), before))
        wire = count_bytes / max(1, count)
        # A plain message is its data and some 130 bytes around it.
        size = max(30, int(wire) - 130)
        pairs = [(fanout_cost(server, "/ws", 1, "ringroom", "--deflate", size=4096, rate=rate),
                  fanout_cost(server, "/ws", 1, "ringroom", size=size, rate=rate)) for _ in range(ROUNDS)]
    deflated_ns, plain_ns = (statistics.median(side) for side in zip(*pairs))
    print(f"     deflated: {wire:.0f} bytes of 4096, compressed once in {spent_us / max(1, count):.0f} µs; "
          f"{deflated_ns:.0f} ns, plain {plain_ns:.0f} ns a delivery")
    verdict("deflated, times plain", statistics.median(a / b for a, b in pairs), 1.10)


FIGURES = {function.__name__: function for function in (
    echo, idle, fanout, timers, dribble, joined, rooms, overload, fairness, goodput, latency, cores, deflated)}


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
