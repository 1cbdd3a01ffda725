#!/usr/bin/env python3
"""Hot restarts under load: a new process shares the port, the old one drains, clients keep coming.

    tests/operations/restart.py [--short|--long]

Counted: connects that were refused, connects that were reset before their upgrade, and clients
inside that were not sent away in order (close 1012). The kernel resets what waits in the queue of a
listener that closes, so resets are few and not none; a refused connect would be a gap in service.
"""

import argparse
import asyncio
import sys

from server import CLOSE, Client, Server

WINDOW = "drain.window_ms=300"


class Count:
    """What became of the connects."""

    def __init__(self):
        self.served = self.refused = self.reset = self.rude = 0


async def newcomers(port, count):
    while True:
        try:
            client = await Client.connect(port)
        except ConnectionRefusedError:
            count.refused += 1
        except (OSError, asyncio.IncompleteReadError):
            count.reset += 1
        else:
            count.served += 1
            client.end()
        await asyncio.sleep(0.002)


async def inside(client, count):
    try:
        first, payload = await client.receive()
        if first != CLOSE or int.from_bytes(payload[:2], "big") != 1012:
            count.rude += 1
    except (OSError, asyncio.IncompleteReadError):
        count.rude += 1
    client.end()


async def measure(restarts):
    count = Count()
    old = await asyncio.to_thread(Server, WINDOW, arguments=["--share-port"])
    port = old.port
    load = [asyncio.ensure_future(newcomers(port, count)) for _ in range(8)]
    for _ in range(restarts):
        clients = [await Client.connect(port) for _ in range(20)]
        new = await asyncio.to_thread(Server, WINDOW, port=port, arguments=["--share-port"])
        # Who answers the close at once holds nothing up.
        watchers = [asyncio.ensure_future(inside(client, count)) for client in clients]
        old.drain()
        code = await asyncio.to_thread(old.process.wait)
        if code != 0:
            raise RuntimeError(f"a draining server ended with {code}")
        # Those whom the kernel gave to the new process stay there.
        await asyncio.wait(watchers, timeout=0.2)
        for watcher in watchers:
            watcher.cancel()
        old = new
    for task in load:
        task.cancel()
    with old:
        pass
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="100 restarts")
    parser.add_argument("--short", action="store_true", help="5 restarts (the default)")
    restarts = 100 if parser.parse_args().long else 5
    count = asyncio.run(measure(restarts))
    connects = count.served + count.refused + count.reset
    print(
        f"{restarts} restarts, {connects} connects: {count.refused} refused, {count.reset} reset "
        f"({count.reset / connects:.4%}); {count.rude} of {restarts * 20} inside ended without 1012"
    )
    sys.exit(0 if count.refused == 0 and count.rude == 0 else 1)


main()
