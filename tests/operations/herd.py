#!/usr/bin/env python3
"""Everyone comes back at once, as after a restart: all get in, and the kernel's queue does not overflow.

    tests/operations/herd.py [--short|--long]

The figures: how long until the last is served, at what pace they were let in, and by how much the
machine's `ListenOverflows` grew, which others on it may add to.
"""

import argparse
import asyncio
import resource
import sys
import time
from pathlib import Path

from server import TEXT, Client, Server

ACCEPTS_PER_SECOND = 2_000
PATIENCE_S = 60


def overflows():
    names, values = (line.split() for line in Path("/proc/net/netstat").read_text().splitlines()
                     if line.startswith("TcpExt:"))
    return int(values[names.index("ListenOverflows")])


async def comes(port, served):
    client = await Client.connect(port)
    await client.send(TEXT, b"here again")
    _, payload = await client.receive()
    served.append(payload == b"here again")
    return client


async def herd(count):
    settings = ("admission.connections_per_ip=0", f"admission.accepts_per_second={ACCEPTS_PER_SECOND}",
                "admission.accept_burst=500", f"tcp.backlog={max(4_096, count)}",
                "handshake.deadline_ms=60000")
    with Server(*settings) as server:
        before, began, served = overflows(), time.monotonic(), []
        coming = [asyncio.ensure_future(comes(server.port, served)) for _ in range(count)]
        done, late = await asyncio.wait(coming, timeout=PATIENCE_S)
        took = time.monotonic() - began
        lost = [task.exception() for task in done if task.exception()]
        clients = [task.result() for task in done if not task.exception()]
        panics, overflowed = server.metric("ringroom_panics_total"), overflows() - before
        print(f"herd of {count}: {sum(served)} served in {took:.1f} s ({sum(served) / took:.0f} a second, "
              f"let in at {ACCEPTS_PER_SECOND}), {len(lost)} refused or reset, {len(late)} too late; "
              f"ListenOverflows +{overflowed}")
        for client in clients:
            client.end()
        return sum(served) == count and not panics


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--short", action="store_true")
    count = 5_000 if parser.parse_args().long else 500
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(0 if asyncio.run(herd(count)) else 1)


main()
