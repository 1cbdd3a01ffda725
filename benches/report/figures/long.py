"""What takes long and is run by hand: 50,000 held for ten minutes, churn, and a mixed load for twenty."""

import statistics
import time
from pathlib import Path

from generator import SOURCES, load
from model import chapter
from process import UNLIMITED, beside, cpu_ns, descriptors, resident_bytes, ringroom, total, wait_until_open

from figures.connections import PATIENT, WITH_SESSION


# A thousand publishes a second.
TALK = ("--rooms", 10, "--members", 10, "--publishers", 1, "--rate", 100)
# Bytes of a payload that the server deflates: more than `deflate.min_bytes`.
DEFLATED = 2_048
# Seconds in which all that a client leaves behind must be gone: a session's time, and some for the sweep.
SETTLED_WITHIN = 60


@chapter("long-hold", "Held for ten minutes", lambda scale: f"{scale.held[-1]:,} idle connections with a session each, "
         f"and heartbeats, in one process of four cores that share two CPUs, for {scale.soak} s.")
def hold(section, scale):
    count = scale.held[-1]
    with ringroom(cores=4, cpus="0,1", settings=[UNLIMITED]) as server:
        time.sleep(1)
        before = resident_bytes(server.pid)
        report = beside(load, "hold", "-n", count, "--seconds", scale.soak + 10, "--dialect",
                        WITH_SESSION.dialect, "--url", server.url(WITH_SESSION.path), *SOURCES, *PATIENT)
        wait_until_open(server, count)
        began, cpu = time.monotonic(), cpu_ns(server.pid)
        memory = _watch(server, scale.soak)
        share = (cpu_ns(server.pid) - cpu) / 1e9 / (time.monotonic() - began)
        phase = report()
    each = statistics.median(value for _, value in memory) / count - before / count
    section.chart("long-hold", "Memory of the process", "seconds", "MB", [("resident", _megabytes(memory))])
    section.claim("held for long, unexpected closes", phase["totals"]["dropped"] + count - phase["held"], 0)
    section.claim("held for long, process memory of each", each / 1024, 1.5, " KB")
    section.claim("held for long, CPU of the machine", share * 100 / 2, 5, " %")


def _churned(scale):
    """Connections that are held, and how many of them come anew in a second."""
    return (17_000, 1_700) if scale.soak > 60 else (300, 30)


@chapter("churn", "Churn", lambda scale: "{:,} connections held while {:,} a second end, some without a close, "
         "and come anew, for {} s; beside them ten rooms in which a thousand messages a second are published. What is "
         "there before they come must be all that is there when they have gone: descriptors, connections and "
         "handshakes (an entry of the slab and a task each), sessions, rooms, threads. Memory is that of the last "
         "half: before it the heap comes to hold the most that was ever there at once."
         .format(*_churned(scale), scale.soak * 2))
def churn(section, scale):
    count, rate = _churned(scale)
    seconds = scale.soak * 2
    ttl_s = 120 if scale.soak > 60 else 2
    with ringroom(cores=2, cpus="0,1", settings=[UNLIMITED, f"session.ttl_ms={ttl_s * 1000}"]) as server:
        # A room each, so that what the first of all takes is there already.
        load("fanout", *TALK, "--seconds", 2, "--url", server.url("/ws"))
        idle = _settled(server, ttl_s)
        churned = beside(load, "churn", "-n", count, "--rate", rate, "--seconds", seconds, "--url",
                         server.url("/ws"), *SOURCES, *PATIENT)
        wait_until_open(server, count * 9 // 10)
        talked = beside(load, "fanout", *TALK, "--seconds", max(1, seconds - 30), "--url", server.url("/ws"))
        # What the connections that end leave behind is kept for two minutes: sessions to come back to.
        time.sleep(seconds / 2)
        memory = _watch(server, seconds / 2 - min(30, seconds / 4))
        phase, talk = churned(), talked()
        after = _settled(server, ttl_s)
    drift = _slope(memory) * 3600
    section.chart("churn", "Memory of the process while connections come and go", "seconds", "MB",
                  [("resident", _megabytes(memory))])
    published = talk["measured"]["sent"] / max(talk["seconds"], 1e-9)
    section.note(f"{phase['totals']['opened']:,} connections made; {published:,.0f} messages a second published")
    section.table(("what", "before", "after"), [(what, f"{idle[what]:.0f}", f"{after[what]:.0f}") for what in idle])
    section.claim("churn, messages lost beside it", talk["totals"]["lost"], 0)
    for what in idle:
        section.claim(f"churn, {what} left over", after[what] - idle[what], 0)
    (began, first), (ended, last) = memory[0], memory[-1]
    section.claim("churn, memory an hour, extrapolated", drift * 100, 1, " %",
                  why=f"In the {ended - began:.0f} s that were watched the process came from {first / (1 << 20):.2f} to "
                      f"{last / (1 << 20):.2f} MB; an hour is {3600 / (ended - began):.0f} times as long.")
    section.claim("churn, handshake p99", phase["handshake"]["p99"] / 1e3, 100, " ms")


@chapter("soak", "Soak", lambda scale: f"For {scale.soak * 2} s: rooms of fifty with messages, comings and goings, presence and "
         "history, half of it deflated (2,048 B, where the other half has 64); and members that are cut and "
         "resume.")
def soak(section, scale):
    seconds = scale.soak * 2
    chat = ("chat", "--rooms", 20, "--members", 50, "--publishers", 2, "--rate", 5, "--commands", 200, "--seconds", seconds)
    # Who was cut gets what it missed from history, which rooms have not unless asked.
    with ringroom(settings=[UNLIMITED, "rooms.history_size=1000"]) as server:
        url = ("--url", server.url("/ws"), "--cpus", 1)
        running = [beside(load, *chat, *url), beside(load, *chat, "--deflate", "--size", DEFLATED, *url),
                   beside(load, "resume", "--rooms", 5, "--members", 40, "--rate", 10, "--cuts", 10, "--seconds", seconds,
                          *url)]
        time.sleep(5)
        memory = _watch(server, seconds - 10)
        phases = [wait() for wait in running]
    half = memory[len(memory) // 2:]
    series = [second["p99_us"] for second in phases[0]["series"] if second["p99_us"] is not None]
    fifth = max(1, len(series) // 5)
    fifths = [statistics.median(series[at * len(series) // 5:][:fifth]) for at in range(5)]
    first, last = fifths[0], fifths[-1]
    section.chart("soak", "Memory of the process", "seconds", "MB", [("resident", _megabytes(memory))])
    section.note(f"p99 a second, the median: {first:.0f} µs in the first fifth, {last:.0f} µs in the last; "
                 f"{sum(phase['totals']['received'] for phase in phases):,} messages, "
                 f"{phases[2]['totals']['resumed']:,} resumptions")
    grown = _slope(half) * (half[-1][0] - half[0][0]) if len(half) > 1 else 0.0
    section.claim("soak, memory over the last half", grown * 100, 0.1, " %")
    section.claim("soak, p99 of the last fifth, times the first", last / max(1, first), 1.1,
                  why=f"The fifths, one after another: {', '.join(f'{each:.0f}' for each in fifths)} µs.")
    section.claim("soak, messages lost", sum(phase["totals"]["lost"] for phase in phases), 0)


def _watch(server, seconds):
    """Resident memory, a sample a second, as pairs of a moment and bytes."""
    began, samples = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds or len(samples) < 2:
        samples.append((passed, resident_bytes(server.pid)))
        time.sleep(1)
    return samples


def _megabytes(samples):
    step = max(1, len(samples) // 200)
    return [(round(at, 1), value / (1 << 20)) for at, value in samples[::step]]


def _slope(samples):
    """Growth a second as a share of the mean, by least squares."""
    times, values = zip(*samples, strict=True)
    return statistics.linear_regression(times, values).slope / statistics.fmean(values)


def _left(server):
    """What a server has, by name: descriptors of the cores, what they count, and threads."""
    return {
        "descriptors": descriptors(server.pid),
        "connections": total(server, "ringroom_connections_open{"),
        "handshakes": total(server, "ringroom_handshakes_pending{"),
        "sessions": total(server, "ringroom_sessions{"),
        "rooms": total(server, "ringroom_rooms{"),
        "threads": sum(1 for _ in Path(f"/proc/{server.pid}/task").iterdir()),
    }


def _settled(server, ttl_s):
    """The same when nobody is there, and sessions that wait for their clients have had their time."""
    deadline = time.monotonic() + ttl_s + SETTLED_WITHIN
    while time.monotonic() < deadline:
        left = _left(server)
        if not any(left[what] for what in ("connections", "handshakes", "sessions", "rooms")):
            break
        time.sleep(1)
    return left
