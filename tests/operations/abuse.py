#!/usr/bin/env python3
"""Good clients talk while bad ones do their worst; what the good ones notice is the figure.

    tests/operations/abuse.py [--short|--long] [ATTACK…]

For each attack, by bad clients in a process of their own: how many good ones were disconnected (must be
none), their round trips at the median and p99 as a ratio to those of the same clients while the same bad
ones are at another server beside it (p99 at most 1.2 in the long form), how far the server's memory grew
(bounded), what it counted against the bad ones (something, where they are refused), and how long after their
end all is as before: connections, handshakes, and the good ones' round trips (at most five seconds). The two
take turns, and the ratios are those of the median turn: the p99 of one alone may differ by half from that of
the next, with nobody attacking.

All share this machine where the bad ones would have machines of their own: they get the CPU that server and
good clients leave, and what they do to a server that is not asked shows what they cost a machine, whatever a
server does. How much they did is told. Where others are at work beside all of it: `chrt -r 1 nice -n -20`.
"""

import argparse
import asyncio
import contextlib
import functools
import gc
import itertools
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from server import BINARY_FRAME, DEFLATE, HEAD, PING, TEXT, Client, Server, frame

MIB = 1 << 20


class Form:
    """How large a form is: good clients, bad ones (of some attacks, more), turns and seconds of each half
    of one, by how much p99 may rise, and by how much the median after all."""

    def __init__(self, good, bad, turns, seconds, worst_p99, worst_after, more=()):
        self.good, self.turns, self.seconds = good, turns, seconds
        self.worst_p99, self.worst_after = worst_p99, worst_after
        self._bad, self._more = bad, dict(more)

    def bad(self, attack):
        return self._more.get(attack, self._bad)


# All good clients together, as much as one Python process can say and still measure.
MESSAGES_PER_SECOND = 1_000
# How often it is seen whether all is as before, by as many of them as can say something in that time.
LOOK_S = 0.2

# On a small and busy machine the round trips of a second say nothing.
SHORT = Form(20, 20, 1, 1.5, float("inf"), float("inf"))
MANY = {"dribble": 5_000, "dribble_tls": 5_000, "unread": 5_000, "deaf": 2_500}
LONG = Form(5_000, 1_000, 5, 15.0, 1.2, 1.2, MANY)
RECOVERY_S = 5.0
# For what must happen on whatever machine.
PATIENCE_S = 30.0
OUTBOX_BYTES, OUTBOX_TOTAL_BYTES = 256 << 10, 512 * MIB
# What all may have begun and not ended, and what one may: a message, and what was read behind it.
INBOX_TOTAL_BYTES, INBOX_BYTES = 128 * MIB, 128 << 10


@functools.cache
def bomb():
    """As many zeros as fit a frame of 64 KiB once deflated: some 60 MiB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(60 * MIB)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return packed[:-4]


async def until_ended(act):
    """Again and again, until the server has had enough."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await act()


async def pings(port):
    client = await Client.connect(port)
    flood = frame(PING, b"p" * 125) * 200

    async def act():
        client.writer.write(flood)
        await client.writer.drain()
        await client.reader.read(65_536)

    await until_ended(act)


async def fragments(port):
    client = await Client.connect(port)
    await client.send(0x01, b"")
    # More than a message may have; the end comes in the middle.
    client.writer.write(frame(0x00, b"x") * 2_000)
    await client.reader.read()
    client.end()


async def bombs(port):
    client = await Client.connect(port, more=DEFLATE)
    await client.send(0xC2, bomb())
    with contextlib.suppress(asyncio.IncompleteReadError):
        await client.reader.readexactly(2)
    client.end()


async def unread(port):
    client = await Client.connect(port)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.writer.transport.pause_reading()
    message = bytes(60_000)

    async def act():
        await asyncio.wait_for(client.send(BINARY_FRAME, message), 1)

    with contextlib.suppress(asyncio.TimeoutError):
        await until_ended(act)
    await asyncio.sleep(1)
    client.end()


async def deaf(port):
    """Somebody in a room who does not read what another says there."""
    room = f"loud:{os.urandom(8).hex()}"
    silent, loud = [await Client.connect(port, path="/ws") for _ in range(2)]
    silent.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    silent.writer.transport.pause_reading()
    for client in silent, loud:
        await client.send(TEXT, json.dumps({"type": "join", "room": room}).encode())
    publish = {"type": "publish", "id": 1, "room": room, "exclude_self": True, "data": "x" * 30_000}
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        for _ in range(40):
            await loud.send(TEXT, json.dumps(publish).encode())
            while json.loads((await loud.receive())[1]).get("id") != 1:
                pass
    for client in silent, loud:
        client.end()


async def drip(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        for byte in data:
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)
    writer.transport.abort()


async def dribble(port):
    await drip(port, HEAD.format(path="/echo", more="X: y\r\n" * 10).encode())


async def dribble_tls(port):
    """The beginning of a hello that is as long as a record."""
    await drip(port, b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(1_000))


async def resets(port):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.write(HEAD.format(path="/echo", more="").encode())
    writer.transport.abort()


async def declared(port):
    client = await Client.connect(port)
    client.writer.write(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4))
    await client.reader.read()
    client.end()


async def crowd(port):
    """Ten more connections of one address, which come again and again."""
    coming = (Client.connect(port) for _ in range(10))
    clients = [it for it in await asyncio.gather(*coming, return_exceptions=True) if isinstance(it, Client)]
    await asyncio.sleep(0.5)
    for client in clients:
        client.end()


# What is counted against each. Pings are answered, though not every one; who does not read its own echoes
# is not read.
TOO_LARGE = (("ringroom_closes_total", "too_large"),)
DEADLINE = (("ringroom_handshake_failures_total", "deadline"),)
# By how far each had come.
RESET = (("ringroom_handshake_failures_total", "left"), ("ringroom_closes_total", "lost"),
         ("ringroom_refusals_total", "socket"))
COUNTED = {
    pings: (), fragments: TOO_LARGE, bombs: TOO_LARGE, unread: (),
    deaf: (("ringroom_closes_total", "slow_consumer"),), dribble: DEADLINE, dribble_tls: DEADLINE, resets: RESET, declared: TOO_LARGE,
    crowd: (("ringroom_refusals_total", "connections_per_address"),),
}
ATTACKS = {it.__name__: it for it in COUNTED}
# What an address may have where one has a crowd; good clients have so many addresses that it is no limit for them.
PER_ADDRESS = 100


async def keep_on(attack, port):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await attack(port)
        await asyncio.sleep(0.001)


async def attack_on(name, port, count):
    """The process of the bad ones, until it is ended."""
    if name == "bombs":
        bomb()
    attackers = [asyncio.ensure_future(keep_on(ATTACKS[name], port)) for _ in range(count)]
    print("ready", flush=True)
    # Behind server and good clients, whatever way those are run.
    is_real_time = os.sched_getscheduler(0) != os.SCHED_OTHER
    os.sched_setscheduler(0, os.SCHED_OTHER if is_real_time else os.SCHED_IDLE, os.sched_param(0))
    await asyncio.gather(*attackers)


@contextlib.asynccontextmanager
async def attackers(name, server, count):
    port = server.tls_port if name == "dribble_tls" else server.port
    words = [sys.executable, __file__, "--attack", str(port), str(count), name]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        if await asyncio.to_thread(process.stdout.readline) != "ready\n":
            raise RuntimeError("nobody attacks")
        yield
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def talk(clients, seconds):
    """Every client says something now and then; the round trips, and who was lost."""
    trips, lost = [], []
    pause = max(0.1, len(clients) / MESSAGES_PER_SECOND)

    async def one(index, client):
        await asyncio.sleep(index / len(clients) * pause)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                began = time.perf_counter()
                await client.send(TEXT, b"are you there?")
                _, payload = await asyncio.wait_for(client.receive(), 30)
                if payload != b"are you there?":
                    raise ConnectionError("something else came back")
                trips.append(time.perf_counter() - began)
                await asyncio.sleep(pause)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            lost.append(repr(error))

    await asyncio.gather(*(one(index, client) for index, client in enumerate(clients)))
    return trips, lost


def p99(values):
    return statistics.quantiles(values, n=100)[98]


def state(server):
    """Connections, in whatever stage."""
    return sum(server.metric(name) for name in ("ringroom_connections_open", "ringroom_handshakes_pending"))


def doing(server):
    """Connections that came and bytes that were said, since the server began."""
    return [server.metric(name) for name in ("ringroom_accepts_total", "ringroom_bytes_in_total")]


def against(server, name):
    """What was counted against the bad ones."""
    return sum(server.metric(*series) for series in COUNTED[ATTACKS[name]])


async def recovers(server, clients, worst):
    """Seconds from the attack's end until all is as before, and whom that has cost."""
    began, recovered_s, lost = time.monotonic(), float("inf"), []
    looks = max(1, int(len(clients) / (MESSAGES_PER_SECOND * LOOK_S)))
    for look in itertools.count():
        trips, more = await talk(clients[look % looks :: looks], LOOK_S)
        lost += more
        is_as_before = bool(trips) and statistics.median(trips) <= worst
        if is_as_before and await asyncio.to_thread(state, server) == len(clients):
            recovered_s = time.monotonic() - began
        if recovered_s < float("inf") or time.monotonic() - began > PATIENCE_S:
            break
    _, more = await talk(clients, LOOK_S)
    return recovered_s, lost + more


def listeners(folder):
    """A configuration with a plain listener and one with TLS."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    plain = '[[listener]]\naddress = "127.0.0.1:0"\n'
    tls = f'tls.certificate_file = "{certificate}"\ntls.key_file = "{key}"\n'
    config = folder / "config.toml"
    config.write_text(plain + plain + tls)
    return config


class Toll:
    """What an attack took from the server."""

    def __init__(self, server):
        self.server = server
        self.memory, self.cpu, self.doing = server.resident_bytes(), server.cpu_seconds(), doing(server)

    def take(self, seconds):
        """Memory that it grew by; of each second: of CPU, connections, bytes."""
        grown = self.server.resident_bytes() - self.memory
        cpu = self.server.cpu_seconds() - self.cpu
        came, said = [now - then for now, then in zip(doing(self.server), self.doing)]
        return grown, cpu / seconds, came / seconds, said / seconds


async def turn(name, form, server, other, clients, calm):
    """The bad ones at the other server, then at ours; what is told of it by name."""
    bad = form.bad(name)
    async with attackers(name, other, bad):
        beside, lost = await talk(clients, form.seconds)
    toll = Toll(server)
    async with attackers(name, server, bad):
        during, more = await talk(clients, form.seconds)
        grown, cpu, came, said = toll.take(form.seconds)
        strangers = server.metric("ringroom_connections_open") - form.good
        until = time.monotonic() + PATIENCE_S
        while COUNTED[ATTACKS[name]] and not against(server, name) and time.monotonic() < until:
            await asyncio.sleep(0.05)
    recovered_s, others = await recovers(server, clients, statistics.median(calm) * form.worst_after)
    return {
        "median": statistics.median(during) / statistics.median(beside), "p99": p99(during) / p99(beside),
        "calm_median": statistics.median(during) / statistics.median(calm), "calm_p99": p99(during) / p99(calm),
        "cpu": cpu, "came": came, "said": said, "grown": grown, "strangers": strangers,
        "recovered": recovered_s, "lost": len(lost + more + others),
    }


async def measure(name, form, config):
    limit = PER_ADDRESS if name == "crowd" else 0
    settings = ("handshake.deadline_ms=1000", "tcp.send_buffer_bytes=65536", f"limits.outbox_bytes={OUTBOX_BYTES}",
                f"limits.outbox_total_bytes={OUTBOX_TOTAL_BYTES}", f"limits.inbox_total_bytes={INBOX_TOTAL_BYTES}",
                f"admission.connections_per_ip={limit}")
    with Server(*settings, config=config) as server, Server(*settings, config=config) as other:
        sources = [f"127.0.1.{1 + index * 2 // PER_ADDRESS}" for index in range(form.good)]
        clients = [await Client.connect(server.port, source=source) for source in sources]
        # What this process collects would be in the round trips.
        gc.collect()
        gc.disable()
        calm, lost = await talk(clients, form.seconds)
        turns = [await turn(name, form, server, other, clients, calm) for _ in range(form.turns)]
        gc.enable()
        counted = against(server, name)
        panics = server.metric("ringroom_panics_total")
        for client in clients:
            client.end()

    def of_turns(key, take=statistics.median):
        return take([it[key] for it in turns])

    # What the peers may be owed and may have begun by their bounds, and some for the allocator.
    bad = form.bad(name)
    owed = min(bad * 2 * OUTBOX_BYTES, OUTBOX_TOTAL_BYTES * 1.1)
    begun = min(bad * INBOX_BYTES, INBOX_TOTAL_BYTES * 1.1)
    bound = owed + begun + 16 * MIB
    lost = len(lost) + of_turns("lost", sum)
    worst, grown, recovered_s = of_turns("p99"), of_turns("grown", max), of_turns("recovered", max)
    print(
        f"{name:11} round trips: median {of_turns('median'):.2f}x, p99 {worst:.2f}x "
        f"({of_turns('p99', min):.2f} to {of_turns('p99', max):.2f}) beside the same on another server "
        f"({of_turns('calm_median'):.1f}x, {of_turns('calm_p99'):.1f}x a calm machine); "
        f"memory {grown / MIB:+.1f} MiB (bound {bound / MIB:.0f}); server CPU {of_turns('cpu'):.2f}, "
        f"{of_turns('came'):.0f} connections and {of_turns('said') / MIB:.2f} MiB a second; "
        f"{lost} of {form.good} good clients lost; {counted:.0f} counted against the bad ones; "
        f"as before after {recovered_s:.1f} s",
        flush=True,
    )
    if limit:
        strangers = of_turns("strangers", max)
        print(f"{name:11} {strangers:.0f} of them in (limit {limit})", flush=True)
        if strangers > limit:
            return False
    is_counted = counted > 0 or not COUNTED[ATTACKS[name]]
    return (not lost and grown <= bound and panics == 0 and is_counted and recovered_s <= RECOVERY_S
            and worst <= form.worst_p99)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    options = parser.parse_args()
    form = LONG if options.long else SHORT
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.attack:
        port, count = options.attack
        asyncio.run(attack_on(options.attacks[0], int(port), int(count)))
        return
    print(f"{form.good} good clients, {form.bad('')} bad ones, {os.cpu_count()} CPUs for all of them")
    with tempfile.TemporaryDirectory() as folder:
        config = listeners(Path(folder))
        held = [asyncio.run(measure(name, form, config)) for name in options.attacks or ATTACKS]
    sys.exit(0 if all(held) else 1)


main()
