"""Occupies a share of the CPU that it is bound to: a tenth of a millisecond, and leaves the next to others.

An idle loop beside a server leaves it a half as well, but for as long at a time as the kernel's tick, and
whoever waits for the server waits for that: some milliseconds, whatever the server does.
"""

import sys
import time

PERIOD_NS = 200_000


def occupy(share):
    busy_ns = round(PERIOD_NS * share)
    began = time.monotonic_ns()
    while True:
        while time.monotonic_ns() < began + busy_ns:
            pass
        began += PERIOD_NS
        ahead_ns = began - time.monotonic_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1e9)
        else:
            # It was kept from its turn, which it does not make up for.
            began = time.monotonic_ns()


if __name__ == "__main__":
    occupy(float(sys.argv[1]))
