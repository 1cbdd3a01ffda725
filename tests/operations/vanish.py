#!/usr/bin/env python3
"""Clients whose network goes silent: nothing says that they are gone, and all the same they go.

    tests/operations/vanish.py

They connect from a network namespace over a pair of virtual links, one of which is then set down: no
FIN, no RST, no answer. A part has talked just before, a part is owed what it does not read, and a
part has only connected and said nothing. The figures: how long until the server has let go of all of
them, beside what its heartbeat and its deadline promise; clients on the loopback notice nothing.
Needs the right to make namespaces; without it this is a skip (exit code 77).
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

from server import BINARY_FRAME, TEXT, Client, Server, skip

SKIP = 77
INTERVAL_MS, MISSED, HANDSHAKE_MS = 1_000, 2, 4_000
COUNT = 60
# What a slow machine may add.
GRACE_S = 10


class Link:
    """A network of its own at the end of a link, until the end of a `with`."""

    def __init__(self):
        self.name = f"rr{os.getpid()}"
        # Of the block for tests of networks (RFC 2544), and another one for each process.
        network = f"198.18.{os.getpid() >> 6 & 255}"
        first = (os.getpid() & 63) * 4
        self.ours, self.theirs = f"{network}.{first + 1}", f"{network}.{first + 2}"

    def __enter__(self):
        near, far = f"{self.name}a", f"{self.name}b"
        try:
            self.ip("netns", "add", self.name)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            skip(f"no network namespace can be made here: {error}")
            sys.exit(SKIP)
        try:
            self.ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
            self.ip("address", "add", f"{self.ours}/30", "dev", near)
            self.ip("link", "set", near, "up")
            self.ip("-n", self.name, "address", "add", f"{self.theirs}/30", "dev", far)
            self.ip("-n", self.name, "link", "set", far, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # The link goes with it.
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

    def cut(self):
        self.ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)


async def come(index, address, port):
    """A client of one of the three kinds, which does what it does until its network goes."""
    if index % 3 == 0:
        return await asyncio.open_connection(address, port)
    client = await Client.connect(port, address=address)
    if index % 3 == 1:
        return asyncio.ensure_future(talk(client))
    client.writer.transport.pause_reading()
    with contextlib.suppress(asyncio.TimeoutError):
        for _ in range(20):
            await asyncio.wait_for(client.send(BINARY_FRAME, bytes(60_000)), 0.2)
    return client


async def far(address, port, count):
    """The part in the other network: connects, says that it has, and waits to be ended."""
    clients = await asyncio.gather(*(come(index, address, port) for index in range(count)))
    print("ready", flush=True)
    await asyncio.sleep(3_600)
    return clients


async def vanish(count):
    with Link() as link:
        settings = (f"heartbeat.interval_ms={INTERVAL_MS}", f"heartbeat.max_missed={MISSED}",
                    f"handshake.deadline_ms={HANDSHAKE_MS}", "auth.mode=open", "admission.connections_per_ip=0")
        with Server(*settings, address="0.0.0.0") as server:
            near = [await Client.connect(server.port) for _ in range(20)]
            talks = [asyncio.ensure_future(talk(client)) for client in near]
            words = ["ip", "netns", "exec", link.name, sys.executable, __file__, "--far", link.ours, str(server.port),
                     str(count)]
            peers = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            try:
                if await asyncio.to_thread(peers.stdout.readline) != "ready\n":
                    raise RuntimeError("the far side does not connect")
                before = await held(server)
                link.cut()
                took = await shrinks_to(server, len(near))
            finally:
                peers.kill()
                peers.wait()
            lost = sum(it.done() for it in talks)
            for it in talks:
                it.cancel()
            promised = INTERVAL_MS * (MISSED + 1) / 1e3
            print(f"{before - len(near):.0f} of {count} held when their network went: gone after {took:.1f} s (heartbeats "
                  f"promise {promised:.1f}), {lost} of {len(near)} others lost")
            return before > len(near) and took <= promised + HANDSHAKE_MS / 1e3 + GRACE_S and not lost and (
                not server.metric("ringroom_panics_total"))


async def held(server):
    """Connections, in whatever stage."""
    names = "ringroom_connections_open", "ringroom_handshakes_pending"
    return sum([await asyncio.to_thread(server.metric, name) for name in names])


async def shrinks_to(server, count):
    """Seconds until no more connections than those are held."""
    began = time.monotonic()
    while time.monotonic() - began < 120:
        if await held(server) <= count:
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    return float("inf")


async def talk(client):
    """Ends only when it is not answered."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        while True:
            await client.send(TEXT, b"there?")
            if await asyncio.wait_for(client.receive(), 30) != (TEXT, b"there?"):
                return
            await asyncio.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the same: as many as show it")
    parser.add_argument("--short", action="store_true", help="the same")
    parser.add_argument("--far", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.far:
        address, port, count = options.far
        asyncio.run(far(address, int(port), int(count)))
        return
    # So that the link goes, too, when this is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(0 if asyncio.run(vanish(COUNT)) else 1)


main()
