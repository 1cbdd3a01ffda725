#!/usr/bin/env python3
"""Good clients talk while bad ones do their worst; what the good ones notice is the figure.

    tests/operations/abuse.py [--short|--long] [ATTACK…]

For each attack: how many good clients were disconnected (must be none), their round trips at the
median and p99 as a ratio to those of the same clients before it, how far the server's memory grew
(bounded), and what it counted. Client and server share this machine, so the ratios hold the
attackers' own cost, too: they say how bad it gets at most.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import statistics
import struct
import sys
import time
import zlib

from server import BINARY_FRAME, DEFLATE, HEAD, PING, TEXT, Client, Server, frame

MIB = 1 << 20


class Form:
    """How large a form is: good clients, bad ones, and seconds of each half."""

    def __init__(self, good, bad, seconds):
        self.good, self.bad, self.seconds = good, bad, seconds


# All good clients together, as much as one Python process can say and still measure.
MESSAGES_PER_SECOND = 1_000

FORMS = {"short": Form(20, 20, 2.0), "long": Form(5_000, 1_000, 30.0)}


def bomb():
    """As many zeros as fit a frame of 64 KiB once deflated: some 60 MiB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(60 * MIB)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return packed[:-4]


BOMB = bomb()


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
    await client.send(0xC2, BOMB)
    with contextlib.suppress(asyncio.IncompleteReadError):
        await client.reader.readexactly(2)
    client.end()


async def unread(port):
    client = await Client.connect(port)
    client.writer.transport.pause_reading()
    message = bytes(60_000)

    async def act():
        await asyncio.wait_for(client.send(BINARY_FRAME, message), 1)

    with contextlib.suppress(asyncio.TimeoutError):
        await until_ended(act)
    await asyncio.sleep(1)


async def dribble(port):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        for byte in HEAD.format(path="/echo", more="X: y\r\n" * 10).encode():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)
    writer.transport.abort()


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


ATTACKS = {it.__name__: it for it in (pings, fragments, bombs, unread, dribble, resets, declared, crowd)}
# What an address may have where one has a crowd; good clients have so many addresses that it is no limit for them.
PER_ADDRESS = 100


async def keep_on(attack, port):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await attack(port)
        await asyncio.sleep(0.001)


async def end(attackers):
    """Ends them. A `wait_for` of Python before 3.12 may swallow a cancellation that comes as it ends."""
    while attackers:
        for attacker in attackers:
            attacker.cancel()
        _, attackers = await asyncio.wait(attackers, timeout=1)


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


async def measure(name, form):
    limit = PER_ADDRESS if name == "crowd" else 0
    settings = ("handshake.deadline_ms=2000", "limits.outbox_bytes=262144",
                f"admission.connections_per_ip={limit}")
    with Server(*settings) as server:
        sources = [f"127.0.1.{1 + index * 2 // PER_ADDRESS}" for index in range(form.good)]
        clients = [await Client.connect(server.port, source=source) for source in sources]
        before, lost_before = await talk(clients, form.seconds)
        memory, cpu = server.resident_bytes(), server.cpu_seconds()
        attackers = [
            asyncio.ensure_future(keep_on(ATTACKS[name], server.port)) for _ in range(form.bad)
        ]
        during, lost = await talk(clients, form.seconds)
        grown = server.resident_bytes() - memory
        cpu = (server.cpu_seconds() - cpu) / form.seconds
        strangers = server.metric("ringroom_connections_open") - form.good
        await end(attackers)
        panics = server.metric("ringroom_panics_total")
        # What the peers may be owed by their bounds, and some for the allocator.
        bound = form.bad * 2 * 262_144 + 16 * MIB
        ratio = statistics.median(during) / statistics.median(before)
        print(
            f"{name:10} round trips: median {ratio:.1f}x, p99 {p99(during) / p99(before):.1f}x; "
            f"memory {grown / MIB:+.1f} MiB (bound {bound / MIB:.0f}); server CPU {cpu:.2f}; "
            f"{len(lost) + len(lost_before)} of {form.good} good clients lost",
            flush=True,
        )
        for client in clients:
            client.end()
        if limit:
            refused = server.metric("ringroom_refusals_total", "connections_per_address")
            print(f"{name:10} {strangers:.0f} of them in (limit {limit}), {refused:.0f} refused", flush=True)
            if strangers > limit or not refused:
                return False
        return not lost and not lost_before and grown <= bound and panics == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    options = parser.parse_args()
    form = FORMS["long" if options.long else "short"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{form.good} good clients, {form.bad} bad ones, {os.cpu_count()} CPUs for all of them")
    held = [asyncio.run(measure(name, form)) for name in options.attacks or ATTACKS]
    sys.exit(0 if all(held) else 1)


main()
