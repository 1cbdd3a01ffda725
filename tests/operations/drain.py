#!/usr/bin/env python3
"""A drain: clients are sent away over the window, each with 1012, and the process ends with 0.

    tests/operations/drain.py [--short|--long]

Printed: the time from the signal to a closed door, to the first and the last close, as shares of
the window; and how evenly they went (clients sent away in the first half of the time).
"""

import argparse
import asyncio
import resource
import sys
import time

from server import CLOSE, Client, Server


async def measure(count, window_ms):
    window = window_ms / 1000
    with Server(f"drain.window_ms={window_ms}") as server:
        clients = [await Client.connect(server.port) for _ in range(count)]
        closes, rude = [], 0

        async def leave(client):
            nonlocal rude
            try:
                first, payload = await client.receive()
                closes.append(time.monotonic())
                rude += first != CLOSE or payload[:2] != (1012).to_bytes(2, "big")
                await client.send(CLOSE, payload[:2])
            except (OSError, asyncio.IncompleteReadError):
                rude += 1
            client.end()

        leaving = [asyncio.ensure_future(leave(client)) for client in clients]
        began = time.monotonic()
        server.drain()
        door = None
        while door is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.transport.abort()
                await asyncio.sleep(0.005)
            except OSError:
                door = time.monotonic() - began
        await asyncio.gather(*leaving)
        code = await asyncio.to_thread(server.process.wait)
        ended = time.monotonic() - began
    first_half = sum(moment - began < window / 2 for moment in closes) / count
    print(
        f"{count} clients over {window:.1f} s: door closed after {door * 1000:.0f} ms, first close at "
        f"{(min(closes) - began) / window:.2f} and last at {(max(closes) - began) / window:.2f} of the "
        f"window, {first_half:.0%} in its first half; ended at {ended / window:.2f} with {code}; "
        f"{rude} without 1012"
    )
    return rude == 0 and code == 0 and ended <= window + 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="10,000 clients over 10 s")
    parser.add_argument("--short", action="store_true", help="300 clients over 2 s (the default)")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = (10_000, 10_000) if parser.parse_args().long else (300, 2_000)
    sys.exit(0 if asyncio.run(measure(*size)) else 1)


main()
