#!/usr/bin/env python3
"""How long what Redis has acknowledged is not on disk yet, with `appendfsync everysec`.

    tests/redis/window.py [--seconds 30] [--rate 1000] [--bytes 200] [--folder /var/tmp]

By hand, never in CI: it needs `redis-server`, and `strace` to see its log written and synced. A process
that is killed loses nothing of what the kernel has, so the window is that of a machine that crashes: from
an acknowledgement to the end of the first sync that began when that command was in the log. Where a
command lies in the log is known, because each stands there as it was sent. First comes `always`, for which
no such window may be found.
"""

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# How Redis begins its log.
SELECT = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
CALL = re.compile(r"^(\d+) +([\d.]+) (write|fdatasync|fsync)\(\d+<[^>]*\.incr\.aof>(.*)$")
RESUMED = re.compile(r"^(\d+) +[\d.]+ <\.\.\. (write|fdatasync|fsync) resumed>(.*)$")
RESULT = re.compile(r"= (\d+) <([\d.]+)>$")
# Long enough for a last sync.
SETTLE_S = 3


class Redis:
    """One whose log is watched."""

    def __init__(self, folder, policy):
        self.folder = Path(tempfile.mkdtemp(prefix="window-", dir=folder))
        self.trace = self.folder / "trace"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": '""',
                    "appendonly": "yes", "appendfsync": policy, "auto-aof-rewrite-percentage": 0}
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        strace = ["strace", "-f", "--seccomp-bpf", "-ttt", "-T", "-y", "-s", "0", "-o", self.trace,
                  "-e", "trace=write,fdatasync,fsync", "-e", "signal=none"]
        self.process = subprocess.Popen([*strace, "redis-server", config], stdout=subprocess.DEVNULL)

    def connect(self):
        until = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 10)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                with self.connect() as wire:
                    wire.sendall(b"SHUTDOWN NOSAVE\r\n")
                    wire.recv(100)
                self.process.wait(10)
            finally:
                self.process.kill()
        shutil.rmtree(self.folder)


def load(redis, seconds, rate, size):
    """Sets keys at that rate; of each, where it ends in the log, and when it was acknowledged."""
    acknowledged, end, began = [], len(SELECT), time.monotonic()
    with redis.connect() as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(seconds * rate):
            time.sleep(max(0, began + number / rate - time.monotonic()))
            key = b"key:%d" % (number % 1_000)
            words = (b"SET", key, b"x" * size)
            command = b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(it), it) for it in words)
            wire.sendall(command)
            if wire.recv(100) != b"+OK\r\n":
                sys.exit("Redis does not answer as it should")
            end += len(command)
            acknowledged.append((end, time.time()))
    return acknowledged


def calls(trace):
    """What the trace says of the log: name, when it began and ended, what it returned."""
    begun = {}
    for line in trace.read_text().splitlines():
        if call := CALL.match(line):
            thread, began, name, rest = call.groups()
            begun[thread] = (name, float(began))
        elif call := RESUMED.match(line):
            thread, _, rest = call.groups()
        else:
            continue
        if thread in begun and (result := RESULT.search(rest)):
            name, began = begun.pop(thread)
            yield name, began, began + float(result[2]), int(result[1])


def windows(acknowledged, trace):
    """Of each acknowledged command the seconds until it was on disk; and those that syncs took."""
    found = sorted(calls(trace), key=lambda it: it[2])
    writes, written = [], 0
    for name, _, ended, result in found:
        if name == "write":
            written += result
            writes.append((written, ended))
    if written != acknowledged[-1][0]:
        sys.exit(f"the log has {written} bytes, not {acknowledged[-1][0]}: nothing can be said")
    syncs = sorted((began, ended) for name, began, ended, _ in found if name != "write")
    waits, write, sync = [], 0, 0
    for end, at in acknowledged:
        while writes[write][0] < end:
            write += 1
        while syncs[sync][0] < writes[write][1]:
            sync += 1
            if sync == len(syncs):
                sys.exit("no sync came after the last write: nothing can be said")
        waits.append(syncs[sync][1] - at)
    return waits, [ended - began for began, ended in syncs]


def measure(policy, seconds, options):
    with Redis(options.folder, policy) as redis:
        acknowledged = load(redis, seconds, options.rate, options.bytes)
        time.sleep(SETTLE_S)
        waits, syncs = windows(acknowledged, redis.trace)
    print(f"{policy}: {len(waits)} commands in {seconds} s, {len(syncs)} syncs, the longest "
          f"{max(syncs) * 1e3:.1f} ms; from an acknowledgement to its sync at most "
          f"{max(waits) * 1e3:.1f} ms, in the median {statistics.median(waits) * 1e3:.1f} ms")
    return max(waits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=int, default=1_000, help="commands a second")
    parser.add_argument("--bytes", type=int, default=200, help="of each value")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk that is meant")
    options = parser.parse_args()
    for tool in ("redis-server", "strace"):
        if not shutil.which(tool):
            sys.exit(f"there is no {tool} on the PATH")
    if measure("always", 5, options) > 0:
        sys.exit("what was always synced before it was acknowledged is not found so")
    measure("everysec", options.seconds, options)


if __name__ == "__main__":
    main()
