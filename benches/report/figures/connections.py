"""What connections cost: made all at once, held, and made beside those who dribble."""

import contextlib
import json
import re
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import journal
from generator import SOURCES, alternate, load
from model import Spread, chapter
from process import (HOST, UNLIMITED, beside, cpu_ns, floor, resident_bytes, ringroom, total,
                     wait_until_open)

PATIENT = ("--connect-within", 100)


@chapter("storm", "Storm", lambda scale: f"{scale.storm:,} connections at once, 128 under way: how soon all are open, "
         "and what one costs the server.")
def storm(section, scale):
    kept = {}

    def connect(name, server, path):
        before = cpu_ns(server.pid)
        phase = load("storm", "-n", scale.storm, "--dialect", "raw", "--url", server.url(path), "--cpus", 1, "--server-pid",
                     server.pid, *SOURCES)
        kept.setdefault(name, []).append(phase)
        return (cpu_ns(server.pid) - before) / scale.storm

    with ringroom(settings=[UNLIMITED]) as ours, floor("floor-epoll-echo") as bare:
        values = alternate(scale.rounds, {"ringroom": lambda: connect("ringroom", ours, "/echo"),
                                          "bare epoll": lambda: connect("bare epoll", bare, "/")})
    rows = []
    for name, phases in kept.items():
        per_second = Spread.of(scale.storm / max(phase["connect_seconds"], 1e-9) for phase in phases)
        p50, p99 = (Spread.of(phase["handshake"][key] / 1e3 for phase in phases).median for key in ("p50", "p99"))
        overflows = sum(phase["kernel"]["listen_overflows"] for phase in phases)
        rows.append((name, f"{per_second.median:,.0f}", f"{p50:.2f}", f"{p99:.2f}",
                     f"{Spread.of(values[name]).median / 1e3:.1f}", overflows))
    section.table(("server", "connections a second", "handshake p50, ms", "p99, ms", "server CPU, µs", "overflows"), rows)
    ratio = Spread.ratio(*values.values())
    section.note(f"CPU a connection, made and ended: {ratio.median:.2f} times bare epoll "
                 f"({ratio.low:.2f} to {ratio.high:.2f})")
    gone = sum(phase["totals"][what] for phase in kept["ringroom"] for what in ("refused", "dropped"))
    section.figures["handshake_us"] = Spread.of(values["ringroom"]).median / 1e3
    section.claim("storm, connections refused or lost", gone, 0)


def _kernel_bytes():
    """What the kernel has in slabs, of the whole machine."""
    return int(re.search(r"^Slab:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)[1]) * 1024


@dataclass(frozen=True)
class Held:
    """What idle connections cost: process memory and CPU a second of each, kernel memory of both its ends. How many
    were lost, and how many heartbeats each had meanwhile, of a server of ours."""

    bytes: float
    cpu_us: float
    kernel_bytes: float
    lost: int
    heartbeats: float


def held(server, count, seconds, *arguments, path="/echo", dialect="raw", tls=False):
    """Holds idle connections, and looks at them for so long when they have settled."""
    time.sleep(1)
    memory, kernel = resident_bytes(server.pid), _kernel_bytes()
    url = server.url(path).replace("ws:", "wss:") if tls else server.url(path)
    settling = min(5, seconds)
    report = beside(load, "hold", "-n", count, "--seconds", settling + seconds + 2, "--dialect", dialect, "--url", url,
                    *SOURCES, *PATIENT, *arguments)
    wait_until_open(server, count)
    time.sleep(settling)
    pings = _pings(server)
    began, cpu = time.monotonic(), cpu_ns(server.pid)
    time.sleep(seconds)
    cpu = (cpu_ns(server.pid) - cpu) / 1e3 / (time.monotonic() - began) / count
    memory = (resident_bytes(server.pid) - memory) / count
    kernel = (_kernel_bytes() - kernel) / count
    pings = _pings(server) - pings
    return Held(memory, cpu, kernel, count - report()["held"], pings / count)


def _pings(server):
    return total(server, "ringroom_pings_total{") if server.control else 0


def _beating(scale, server, count, *arguments, **options):
    """Idle connections of ours for a whole interval of heartbeats, so that each has one of them in it."""
    found = held(server, count, scale.heartbeat_seconds, *arguments, **options)
    if not 0.9 <= found.heartbeats <= 1.1:
        journal.doubted(f"{found.heartbeats:.2f} heartbeats of a connection fell into an interval of them")
    return found


def _idle_ringroom(scale, serve=ringroom):
    """A server for idle connections, with heartbeats at the pace of the scale."""
    return serve(cores=4, cpus="0,1", settings=[UNLIMITED, f"heartbeat.interval_ms={scale.heartbeat_seconds * 1000}"])


@dataclass(frozen=True)
class Idle:
    """What an idle connection is."""

    name: str
    path: str
    dialect: str


# Of `/echo`: a WebSocket and nothing else.
BARE = Idle("bare", "/echo", "raw")
# Of `/ws`, as every client of the protocol has: welcomed, and known by a session that it could come back to.
WITH_SESSION = Idle("with a session", "/ws", "ringroom")


@chapter("hold", "Held connections", lambda scale: "Memory and CPU of idle connections, in one process of four cores "
         f"that share two CPUs, for the {scale.heartbeat_seconds} s from one heartbeat to the next: each connection has "
         "one in them. A bare connection is one to `/echo`, which has no "
         "session; one with a session is a client's to `/ws`, which is what to plan with. Process memory is "
         "what the process grew by; kernel memory is what all slabs of the machine grew by, so it counts "
         "both ends and whatever else went on.")
def hold(section, scale):
    last = scale.held[-1]
    rows, memories, cpus = [], {}, {}
    for idle, count in (*((BARE, count) for count in scale.held), (WITH_SESSION, last)):
        with journal.during(f"{idle.name}, {count:,}"), _idle_ringroom(scale) as server:
            begun = resident_bytes(server.pid)
            found = _beating(scale, server, count, path=idle.path, dialect=idle.dialect)
        kb = found.bytes / 1024
        memories.setdefault(idle.name, []).append((count, kb))
        cpus.setdefault(idle.name, []).append((count, found.cpu_us))
        rows.append((idle.name, f"{count:,}", f"{found.heartbeats:.2f}", f"{kb:.2f}", f"{found.kernel_bytes / 1024:.1f}",
                     f"{found.cpu_us:.2f}", found.lost))
        if count == last:
            section.claim(f"hold, {count:,} connections, {idle.name}, lost", found.lost, 0)
            section.claim(f"hold, {count:,} connections, {idle.name}, process memory of each", kb,
                          1.0 if idle is BARE else 1.5, " KB")
            section.claim(f"hold, {count:,} connections, {idle.name}, CPU of each", found.cpu_us, 1.0, " µs/s")
    section.table(("connection", "connections", "heartbeats of each", "process memory, KB each",
                   "kernel memory, both ends, KB each", "CPU, µs a second each", "lost"), rows)
    section.chart("hold-memory", "Process memory of an idle connection", "connections", "KB", list(memories.items()))
    section.chart("hold-cpu", "CPU of an idle connection", "connections", "µs a second", list(cpus.items()))
    section.figures.update(
        connection_kb=memories[BARE.name][-1][1], connection_us=cpus[BARE.name][-1][1], base_mb=begun / (1 << 20),
        session_kb=memories[WITH_SESSION.name][-1][1], session_us=cpus[WITH_SESSION.name][-1][1])


@contextlib.contextmanager
def tls_ringroom(**options):
    """Our server with one listener, over TLS, and a certificate of its own."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate, file = (Path(folder, name) for name in ("key.pem", "certificate.pem", "ringroom.toml"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)

        def listeners(port):
            file.write_text(f'listen = []\n[[listener]]\naddress = "{HOST}:{port}"\n'
                            f'tls = {{ certificate_file = "{certificate}", key_file = "{key}" }}\n')
            return file

        with ringroom(listeners=listeners, **options) as server:
            yield server


@chapter("kinds", "Held connections of other kinds", "The same for connections that are in a room of a "
         "hundred, that negotiated compression, or that came over TLS: three servers at the same time.")
def kinds(section, scale):
    """Connections that are more than bare."""
    few = scale.joined // 3

    def idle(name, count, *arguments, serve=ringroom, **options):
        with journal.during(name), _idle_ringroom(scale, serve) as server:
            return name, count, _beating(scale, server, count, *arguments, **options)

    under_way = (beside(idle, "in a room of a hundred", scale.joined, "--members", 100, path="/ws", dialect="ringroom"),
                 beside(idle, "deflate negotiated", few, "--deflate"),
                 beside(idle, "TLS", few, "--insecure", serve=tls_ringroom, tls=True))
    kinds_found = [wait() for wait in under_way]
    section.table(("connection", "connections", "heartbeats of each", "process memory, KB each", "CPU, µs a second each",
                   "lost"), [
        (name, f"{count:,}", f"{found.heartbeats:.2f}", f"{found.bytes / 1024:.2f}", f"{found.cpu_us:.2f}", found.lost)
        for name, count, found in kinds_found])
    joined = kinds_found[0][2]
    section.figures["joined_kb"] = joined.bytes / 1024
    section.claim("connections in rooms, process memory of each", joined.bytes / 1024, 1.5, " KB")
    section.claim("connections in rooms, lost", joined.lost, 0)


def _handshake_ms(port):
    began = time.perf_counter()
    with socket.create_connection((HOST, port), 5) as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 101")
    return (time.perf_counter() - began) * 1e3


@chapter("dribble", "Dribblers", "Handshakes of honest clients while others send theirs byte by byte.")
def dribble(section, scale):
    head = b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"a" * 4_000
    with ringroom(settings=["handshake.deadline_ms=30000", UNLIMITED]) as server:
        alone = sorted(_handshake_ms(server.port) for _ in range(500))
        clients = [socket.create_connection((HOST, server.port), 5) for _ in range(scale.dribblers)]
        stop = threading.Event()

        def drip():
            for position in range(len(head)):
                for client in clients:
                    if stop.is_set():
                        return
                    with contextlib.suppress(OSError):
                        client.send(head[position:position + 1])

        dripped = beside(drip)
        among = sorted(_handshake_ms(server.port) for _ in range(500))
        stop.set()
        dripped()
        for client in clients:
            client.close()
    section.note(f"p99 {alone[494]:.2f} ms alone, {among[494]:.2f} ms among {scale.dribblers:,} dribblers")
    section.claim("dribblers, handshake p99 above alone", among[494] - alone[494], 50, " ms")


class _Visitor:
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


@chapter("rooms", "Rooms that come and go", lambda scale: f"Memory after {scale.rooms:,} joins and leaves of rooms in "
         "which nobody had been.")
def rooms(section, scale, visitors=4):
    with ringroom(cores=2, cpus="0,1") as server:
        clients = [_Visitor(server.port) for _ in range(visitors)]

        def visit(first, last):
            share = (last - first) // visitors
            visits = [beside(client.visit, first + index * share, first + (index + 1) * share)
                      for index, client in enumerate(clients)]
            for done in visits:
                done()
            time.sleep(3)
            return resident_bytes(server.pid)

        alone = total(server, "ringroom_rooms")
        before = visit(0, scale.rooms // 2)
        began = time.monotonic()
        after = visit(scale.rooms // 2, scale.rooms // 2 + scale.rooms)
        left = total(server, "ringroom_rooms") - alone
    section.note(f"{scale.rooms:,} visited in {time.monotonic() - began:.0f} s; {before >> 10:,} KB after half as many, "
                 f"{after >> 10:,} KB after all")
    section.claim("rooms, memory afterwards, times before", after / before, 1.05)
    section.claim("rooms, still there", left, 0)
