"""The load generator as a command, and what is asked of it again and again."""

import contextlib
import json
import os
import resource
import tempfile
import time

import journal
from process import BIN, FIRST, Failed, beside, cpu_ns, run

SOURCES = ("--sources", "127.0.0.2-127.0.0.9")
# The CPU of the generator; the servers that it is compared on have the first.
CPU = 1


def load(*arguments, first=FIRST, quiet_doubts=False):
    """Runs the generator; its report of the one phase. Why it must not be believed is noted."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = run([*first, BIN / "ringroom-loadgen", "--quiet", *arguments, "--json", report.name])
        if not os.path.getsize(report.name):
            raise Failed(f"{' '.join(done.args)}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        with open(report.name, encoding="utf-8") as file:
            phase = json.load(file)["phases"][0]
    if phase["invalid"] and not phase["totals"]["opened"]:
        raise Failed(f"no connection opened: {'; '.join(phase['complaints'])}")
    if not quiet_doubts:
        for doubt in phase["invalid"]:
            journal.doubted(doubt)
    return phase


def rate(phase):
    """Messages received in a second."""
    return phase["measured"]["received"] / max(phase["seconds"], 1e-9)


def fanout(server, rooms, members, *more, dialect="ringroom", path="/ws", **options):
    """Publishes to rooms."""
    return load("fanout", "--rooms", rooms, "--members", members, "--dialect", dialect, "--url", server.url(path),
                "--cpus", CPU, *more, **options)


@contextlib.contextmanager
def kernels_share():
    """Of the CPU of the commands that are run in the block, the part that was the kernel's: a list of it, afterwards."""
    share, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    yield share
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    kernel, own = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
    share.append(kernel / max(kernel + own, 1e-9))


def fanout_cost(server, in_flight, seconds, *more, dialect="ringroom", path="/ws", rooms=1, members=1000, size=64):
    """CPU a delivery, in nanoseconds: the server's, and the generator's."""
    before = cpu_ns(server.pid)
    pace = () if in_flight is None else ("--in-flight", in_flight)
    phase = fanout(server, rooms, members, "--publishers", 1, "--seconds", seconds, "--size", size, *pace, *more,
                   dialect=dialect, path=path)
    server_ns = (cpu_ns(server.pid) - before) / max(1, phase["totals"]["received"])
    return server_ns, own_cost(phase)


def own_cost(phase):
    """CPU of the generator for a message that it received, in nanoseconds."""
    return phase["generator"]["cpu_ns"] / max(1, phase["measured"]["received"])


def _bare(server, count, seconds, path, *more):
    """The bare client's report."""
    done = run([*FIRST, BIN / "floor-uring-client", "--port", server.port, "--path", path, "--cpu", CPU, "--count",
                count, "--seconds", seconds, *more])
    with contextlib.suppress(ValueError):
        return json.loads(done.stdout)
    raise Failed(f"{' '.join(done.args)}: {done.stderr[-500:]}")


def echo_cost(server, seconds, path="/"):
    """CPU a message of an echo, in nanoseconds, as the bare client sees it: the server's, and the client's."""
    before = cpu_ns(server.pid)
    said = _bare(server, 200, seconds, path, "--size", 32)
    # It warms up for a second, which the server works for as well.
    messages = said["messages"] * (seconds + 1) / seconds
    return (cpu_ns(server.pid) - before) / max(1, messages), said["cpu_ns_per_message"]


def listening_cost(server, in_flight, seconds, members):
    """CPU a message of a bare receiver, in nanoseconds: all but one of those who hear what is said are such, and
    the one is a generator that publishes."""
    listens = beside(_bare, server, members - 1, seconds, "/", "--listen")
    # It hears from the first message on: what nobody reads would fill the sockets before it has connected them all.
    time.sleep(1)
    # Its measuring begins a second after it has connected them, so somebody is to speak for longer than it listens.
    fanout(server, 1, 1, "--in-flight", in_flight, "--seconds", seconds + 3, dialect="raw", path="/", quiet_doubts=True)
    return listens()["cpu_ns_per_message"]


def closed_echo(server, seconds, path="/", dialect="raw", connections=200):
    """The generator's own closed loop: its report, and the server's CPU a message."""
    before = cpu_ns(server.pid)
    phase = load("echo", "-n", connections, "--in-flight", 1, "--size", 32, "--seconds", seconds + 1, "--warmup", 1,
                 "--dialect", dialect, "--url", server.url(path), "--cpus", CPU)
    return phase, (cpu_ns(server.pid) - before) / max(1, phase["totals"]["received"])


def alternate(rounds, measures):
    """Measures in turn, A B C A B C …: machines drift, ratios of neighbours do not. By name, the values."""
    values = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            with journal.during(str(name)):
                values[name].append(measure())
    return values
