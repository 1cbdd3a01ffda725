"""What nodes that share a Redis cost: from one to another, through one bridge, and where the time goes."""

import contextlib
import csv
import itertools
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from generator import alternate, load, own_cost, rate
from model import Spread, chapter
from process import BIN, FIRST, HOST, UNLIMITED, Failed, beside, free_port, ringroom, run, running, started

# Nothing is written to disk, and nothing else is unlike a Redis as it comes.
REDIS = ("--save", "", "--appendonly", "no")
MESSAGES = 10_000
# Rooms of the closed loop, with so many messages of each under way. Four threads take their turns on what may be
# two CPUs: with a quarter of these in flight, some of them wait with nothing to do.
ROOMS, IN_FLIGHT = 200, 64
# Of the script of a publish, `src/bridge/script/publish.lua`.
ARGUMENTS = 11
# What `redis-benchmark` has if nobody says otherwise, and what it has been told.
CLIENTS, PIPELINE = 50, 64


@contextlib.contextmanager
def _redis():
    """A Redis of this run's own."""
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        raise Failed("there is no redis-server, or no redis-benchmark, on the PATH (Debian: redis-server, redis-tools)")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, \
            started("redis-server", "--bind", HOST, "--port", port, "--dir", folder, *REDIS, port=port) as redis:
        yield redis


def _node(redis, cpus):
    """A node of one core, whose bridge has a CPU without a core if there is one. A Redis that has much to do
    answers late, and is not to count as lost for it; all clients are of one user at one address."""
    return ringroom(cpus=cpus, settings=[
        UNLIMITED, f"redis.url=redis://{HOST}:{redis.port}", "redis.timeout_ms=10000",
        "rate.messages_per_second=0", "users.messages_per_second=0", "addresses.messages_per_second=0",
        "limits.connections_per_user=0"])


def _publishes(node, seconds, *more):
    """Publishes in a closed loop, and each publisher alone in its room."""
    return load("fanout", "--rooms", ROOMS, "--members", 1, "--in-flight", IN_FLIGHT, "--seconds", seconds, *more,
                "--url", node.url("/ws"))


def _call(node, redis):
    """The words with which a node has Redis run the script of a publish, as `MONITOR` shows them."""
    with socket.create_connection((HOST, redis.port), 10) as watch:
        watch.sendall(b"MONITOR\r\n")
        speaks = beside(_publishes, node, 1)
        with watch.makefile(encoding="utf-8", errors="replace") as lines:
            # A node calls Redis whether anybody publishes or not: there is always another line.
            until = time.monotonic() + 10
            heard = itertools.takewhile(lambda _: time.monotonic() < until, map(_words, lines))
            words = next((words for words in heard if _is_publish(words)), None)
    speaks()
    if not words:
        raise Failed("the node made no call that is known for a publish")
    return words


def _words(line):
    """The words of a line of `MONITOR`. What no command line can carry is an `x`: the script looks into
    none of it, and it stays as long."""
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    return [re.sub(r'\\x[0-9a-f]{2}|\\.', "x", word) for word in quoted]


def _is_publish(words):
    """Three keys, of which the third is a channel, and arguments of which some say what was seen."""
    return (len(words) == 6 + ARGUMENTS and words[0].upper() == "EVALSHA" and words[2] == "3"
            and words[5].endswith(":c") and words[6] != "")


def _anywhere(words):
    """The same of a room by chance, whose name is as long. Chance gives each key another room, which comes to the
    same: a room that keeps no history has nothing in its second key, and a channel is told without a look at it."""
    def elsewhere(key):
        before, name, after = re.fullmatch(r"(.*\{\w*\.)([\w-]+)(\}.*)", key).groups()
        return f"{before}__rand_int__{name[12:]}{after}"

    return [*words[:3], *map(elsewhere, words[3:6]), *words[6:]]


def _benchmark(redis, call, seconds, expected):
    """Calls of the script in a second, by `redis-benchmark`, which is told how many to make."""
    done = run([*FIRST, "redis-benchmark", "-h", HOST, "-p", redis.port, "-P", PIPELINE, "-c", CLIENTS, "-r", ROOMS,
                "-n", int(expected * seconds), "--csv", *call])
    rows = [row for row in csv.reader(done.stdout.splitlines()) if len(row) > 1]
    with contextlib.suppress(IndexError, ValueError):
        return float(rows[-1][1])
    raise Failed(f"redis-benchmark: {done.stdout[-300:]}{done.stderr[-300:]}")


@contextlib.contextmanager
def _listener(redis, call):
    """While the block runs, somebody listens to every channel that calls of `redis-benchmark` publish on."""
    channels = [call[5].replace("__rand_int__", f"{room:012}") for room in range(ROOMS)]
    with running(*FIRST, sys.executable, Path(__file__).parent.with_name("listener.py"), redis.port, *channels):
        # It is let connect, which takes a Python some tenths of a second.
        time.sleep(1)
        yield


def _listened_to(node, redis, call, seconds, expected):
    with _listener(redis, call):
        return _within(node, redis, lambda: _benchmark(redis, call, seconds, expected))


def _alone(redis, call, seconds):
    """What the bridge alone publishes, driven through the queues by which a core asks it, in this many rooms and with
    as many in flight as clients have; publications are as long as theirs."""
    done = run([*FIRST, BIN / "bridge-alone", "--redis", f"redis://{HOST}:{redis.port}", "--rooms", ROOMS,
                "--in-flight", IN_FLIGHT, "--size", len(call[10]), "--seconds", seconds])
    with contextlib.suppress(ValueError):
        return json.loads(done.stdout)
    raise Failed(f"bridge-alone: {done.stdout[-300:]}{done.stderr[-300:]}")


def _threads(node, redis):
    """CPU time by what a thread is for, in nanoseconds."""
    spent = {}
    for name, server in ("node", node), ("Redis", redis):
        for task in Path(f"/proc/{server.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                comm = (task / "comm").read_text().strip()
                part = name if name == "Redis" else re.sub(r"-\d+$", "", comm)
                part = part if part in ("Redis", "bridge", "core") else "the node's others"
                spent[part] = spent.get(part, 0) + int((task / "schedstat").read_text().split()[0])
    return spent


def _within(node, redis, work):
    """What a piece of work gives, and what its servers' threads spent on it."""
    before = _threads(node, redis)
    result = work()
    after = _threads(node, redis)
    return result, {part: after[part] - before.get(part, 0) for part in after}


def _latency(section, redis, scale):
    """The publisher of each room on one node, who listens on the other."""
    with _node(redis, "0") as first, _node(redis, "1") as second:
        phase = load("fanout", "--rooms", 100, "--members", 2, "--rate", MESSAGES / 100, "--seconds", 2 * scale.short,
                     "--warmup", 2, "--url", first.url("/ws"), "--url", second.url("/ws"))
    late = phase["latency"]
    published = phase["measured"]["sent"] / max(phase["seconds"], 1e-9)
    section.table(("from node to node, messages a second", "p50, µs", "p99, µs", "p99.9, µs"),
                  [(f"{published:,.0f}", late["p50"], late["p99"], late["p999"])])
    section.figures.update(node_to_node_p50_ms=late["p50"] / 1e3, node_to_node_p99_ms=late["p99"] / 1e3)


def _bridge(section, redis, scale):
    """The same script in turn: by a node for its clients, by a bridge alone, and by `redis-benchmark` with nobody
    who listens and with somebody."""
    with _node(redis, "0-1") as node:
        call = _anywhere(_call(node, redis))
        # Once for the rooms to be there, and once for how many calls make a second.
        calls = _benchmark(redis, call, 1, _benchmark(redis, call, 1, 20_000))
        values = alternate(min(3, scale.rounds), {
            "bridge": lambda: _within(node, redis, lambda: _publishes(node, scale.short + 1, "--warmup", 1)),
            "benchmark": lambda: _within(node, redis, lambda: _benchmark(redis, call, scale.short, calls)),
            "alone": lambda: _within(node, redis, lambda: _alone(redis, call, scale.short)),
            "listened": lambda: _listened_to(node, redis, call, scale.short, calls),
        })
    ours = [rate(phase) for phase, _ in values["bridge"]]
    alone = [driven["publishes"] / driven["seconds"] for driven, _ in values["alone"]]
    theirs, listened = ([calls for calls, _ in values[name]] for name in ("benchmark", "listened"))
    spreads = {"clients of a node": Spread.of(ours), "a bridge alone": Spread.of(alone),
               "redis-benchmark -P 64": Spread.of(theirs), "the same, and somebody listens": Spread.of(listened)}
    section.table(("the most publishes a second", "median", "spread"), [
        (name, f"{spread.median:,.0f}", f"{spread.low:,.0f} to {spread.high:,.0f}") for name, spread in spreads.items()])
    why = _where(section, values["bridge"], Spread.of(ours).median)
    _where_alone(section, values["alone"])
    for name, whose in ("benchmark", "redis-benchmark"), ("listened", "redis-benchmark where somebody listens"):
        spent = [spent["Redis"] / (calls * scale.short) for calls, spent in values[name]]
        section.note(f"Redis spends {Spread.of(spent).median / 1e3:.1f} µs on a call of {whose}")
    section.claim("nodes, publishes through one bridge, times redis-benchmark -P 64", Spread.ratio(ours, theirs), 0.8,
                  least=True, why=why)
    section.claim("nodes, publishes by a bridge alone, times redis-benchmark -P 64", Spread.ratio(alone, theirs), 0.8,
                  least=True)
    section.claim("nodes, publishes by a bridge alone, times redis-benchmark -P 64 where somebody listens",
                  Spread.ratio(alone, listened), 0.8, least=True)


def _where(section, runs, publishes):
    """Where the time of a publish goes: CPU by thread, the median of the runs. In a sentence, what bounds them."""
    costs = {part: Spread.of(spent[part] / max(1, phase["totals"]["received"]) for phase, spent in runs).median
             for part in runs[0][1]}
    costs["generator"] = Spread.of(own_cost(phase) for phase, _ in runs).median
    whole = sum(costs.values())
    section.table(("a publish through the bridge", "CPU, µs", "share", "CPUs at the most"), [
        (part, f"{cost / 1e3:.2f}", f"{cost / whole:.0%}", f"{cost * publishes / 1e9:.2f}")
        for part, cost in sorted(costs.items(), key=lambda entry: -entry[1])])
    cpus = len(os.sched_getaffinity(0))
    bound = (f"together {whole / 1e3:.1f} µs: {cpus} CPUs carry {cpus * 1e9 / whole:,.0f} a second at the very most, "
             "were none of them ever idle")
    section.note(bound)
    parts = ", ".join(f"{part} {cost / 1e3:.1f}" for part, cost in sorted(costs.items(), key=lambda entry: -entry[1]))
    return f"A publish takes, in µs of CPU: {parts}; {bound}."


def _where_alone(section, runs):
    """The same of a bridge alone; what drives it stands for a core."""
    parts = {"Redis": lambda driven, spent: spent["Redis"] / max(1, driven["all"]),
             "bridge": lambda driven, _: driven["bridge_ns"] / max(1, driven["publishes"]),
             "what drives it": lambda driven, _: driven["driver_ns"] / max(1, driven["publishes"])}
    costs = {name: Spread.of(cost(*measured) for measured in runs).median for name, cost in parts.items()}
    section.table(("a publish by the bridge alone", "CPU, µs"), [
        (name, f"{cost / 1e3:.2f}") for name, cost in costs.items()])


@chapter("nodes", "Nodes", "Two nodes of a core each, and a Redis that writes nothing to disk, all on the "
         "CPUs of this machine, the generator too. First 10,000 messages a second in 100 rooms, each "
         "timed from the moment it was meant to be sent on one node to its arrival on the other. Then "
         f"the most that goes through one bridge: {ROOMS} rooms, {IN_FLIGHT} messages of each in flight, "
         "the publisher alone in its room, so that Redis has to tell every publication to the node as "
         "well. `redis-benchmark` calls the same script with the same words, as `MONITOR` showed them, "
         "for as many rooms: there nobody listens to Redis, or one listener to all the channels, as a "
         "bridge does. The bridge alone is a process without clients, in which one thread asks it for as "
         "much through the queues by which a core does, and for more when that comes back.")
def nodes(section, scale):
    with _redis() as redis:
        _latency(section, redis, scale)
    with _redis() as redis:
        _bridge(section, redis, scale)
