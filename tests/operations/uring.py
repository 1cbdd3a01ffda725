#!/usr/bin/env python3
"""Where the kernel gives no ring, or little memory for one: the server starts again and again, serves,
and says which driver it has.

    tests/operations/uring.py [--short|--long]

`kernel.io_uring_disabled` is a setting of the whole machine: it is only changed, and set back, where
MAY_SET_SYSCTL=1 says that it may be; else that part is skipped, loudly, and counted.
"""

import argparse
import asyncio
import os
import resource
import sys
from pathlib import Path

from server import TEXT, Client, Server, skip

SYSCTL = Path("/proc/sys/kernel/io_uring_disabled")
MEMLOCK_BYTES = 64 << 10
# Somebody without privileges.
NOBODY = 65_534


async def echoes(port):
    client = await Client.connect(port)
    await client.send(TEXT, b"served")
    _, payload = await asyncio.wait_for(client.receive(), 10)
    client.end()
    return payload == b"served"


def serves(starts, user=None):
    """How many of so many starts serve, and by which drivers."""
    served, drivers = 0, set()
    for _ in range(starts):
        with Server(user=user) as server:
            served += asyncio.run(echoes(server.port))
            drivers |= server.drivers()
    return served, drivers


def memlock(starts):
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    least = MEMLOCK_BYTES if hard == resource.RLIM_INFINITY else min(MEMLOCK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (least, hard))
    try:
        served, drivers = serves(starts)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    print(f"memlock of {least >> 10} KiB: {served} of {starts} starts serve, by {sorted(drivers)}")
    return served == starts


def sysctl(starts):
    if os.environ.get("MAY_SET_SYSCTL") != "1" or not os.access(SYSCTL, os.W_OK):
        skip(f"{SYSCTL} is not to be changed here (MAY_SET_SYSCTL=1 and root allow it)")
        return True
    before = SYSCTL.read_text()
    held = True
    try:
        # 1 lets the privileged have one.
        for value, user, driver in ("2", None, "epoll"), ("1", None, "io_uring"), ("1", NOBODY, "epoll"):
            SYSCTL.write_text(value)
            served, drivers = serves(starts, user)
            who = "root" if user is None else "nobody"
            print(f"io_uring_disabled={value}, as {who}: {served} of {starts} starts serve, by {sorted(drivers)}")
            held &= served == starts and drivers == {driver}
    finally:
        SYSCTL.write_text(before)
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--short", action="store_true")
    starts = 20 if parser.parse_args().long else 5
    held = [memlock(starts), sysctl(starts)]
    sys.exit(0 if all(held) else 1)


main()
