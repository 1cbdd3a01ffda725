#!/usr/bin/env python3
"""Rooms that nobody has seen before, joined and left at once: the memory they took comes back.

    tests/operations/rooms.py [--short|--long]

The short form takes 40,000 rooms, the long one a million, each twice: what the server holds after the
second round is compared with what it held after the first, so that what the allocator keeps for the
next burst counts once. The target is 5 %, and 2 MB where that is less than the noise of a small process.
"""

import argparse
import asyncio
import json
import sys
import time

from server import TEXT, Client, Server

CONNECTIONS = 8
BATCH = 100
SETTLE_S = 3
MOST_GROWTH = 0.05
NOISE_BYTES = 2 * 1024 * 1024


async def joins_and_leaves(port, name, count):
    """Joins and leaves `count` rooms; how many joins were answered with `ok`."""
    client = await Client.connect(port, path="/ws")
    await client.receive()
    joined = 0
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        for kind in ("join", "leave"):
            messages = [{"type": kind, "id": n, "room": f"{name}/{n}"} for n in numbers]
            await client.send(TEXT, json.dumps(messages).encode())
            for _ in numbers:
                _, payload = await client.receive()
                joined += kind == "join" and json.loads(payload)["type"] == "ok"
    client.end()
    return joined


async def round_of(server, number, rooms):
    each = rooms // CONNECTIONS
    coming = [joins_and_leaves(server.port, f"{number}-{n}", each) for n in range(CONNECTIONS)]
    joined = sum(await asyncio.gather(*coming))
    await asyncio.sleep(SETTLE_S)
    return joined, server.metric("ringroom_rooms"), server.resident_bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--short", action="store_true")
    rooms = 1_000_000 if parser.parse_args().long else 40_000
    settings = ("session.ttl_ms=1000", "presence.grace_ms=0", "limits.batch_messages=100")
    with Server(*settings) as server:
        empty, began, rounds = server.resident_bytes(), time.monotonic(), []
        for number in range(2):
            rounds.append(asyncio.run(round_of(server, number, rooms)))
        (_, _, first), (joined, left, second) = rounds
        growth = second / first - 1
        print(f"{rooms} rooms joined and left, twice: {empty / 2**20:.1f} MB empty, "
              f"{first / 2**20:.1f} and {second / 2**20:.1f} MB after ({growth:+.1%}), "
              f"{left:.0f} rooms left, {time.monotonic() - began:.0f} s")
        bounded = growth <= MOST_GROWTH or second - first <= NOISE_BYTES
        return all(it[0] == rooms for it in rounds) and left == 0 and bounded


if __name__ == "__main__":
    sys.exit(not main())
