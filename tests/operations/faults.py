#!/usr/bin/env python3
"""How soon a wedged core is noticed, and how soon a process ends that has lost a core.

    tests/operations/faults.py [--short|--long]

A core that does nothing is to be `not ready` within two seconds; a panic in a core's own loop ends the
process within one, so that it is started again. The best of five counts, since this machine is no
quiet one.
"""

import argparse
import contextlib
import http.client
import sys
import time

from server import Server

TRIES = 5
WEDGE_MS = 8_000
NOTICED_S, ENDED_S = 2.0, 1.0
# A lost core is no success: a supervisor is to see that.
LOST = 1


def wedged():
    """Seconds from the order, before which the core was well, until the process is not ready."""
    with Server("dev.faults=true", arguments=["--cores", "1"]) as server:
        began = time.monotonic()
        server.fault(f"wedge?for_ms={WEDGE_MS}")
        while server.is_ready():
            if time.monotonic() - began > WEDGE_MS / 1_000:
                return float("inf")
            time.sleep(0.01)
        return time.monotonic() - began


def lost():
    """Seconds from the order until the process has ended as it should."""
    with Server("dev.faults=true", arguments=["--cores", "2"]) as server:
        began = time.monotonic()
        # It may be gone before it has answered.
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.fault("panic")
        code = server.process.wait(timeout=60)
        return time.monotonic() - began if code == LOST else float("inf")


def best(what, measure, bound):
    """Whether one of so many keeps the bound; the first that does is enough."""
    took = []
    while len(took) < TRIES and (not took or min(took) > bound):
        took.append(measure())
    seen = ", ".join(f"{it:.2f}" for it in took)
    print(f"{what} after {seen} s (at most {bound:.0f})", flush=True)
    return min(took) <= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the same")
    parser.add_argument("--short", action="store_true", help="the same")
    parser.parse_args()
    held = [best("a wedged core: not ready", wedged, NOTICED_S),
            best("a panic in a core's loop: the process has ended", lost, ENDED_S)]
    sys.exit(0 if all(held) else 1)


main()
