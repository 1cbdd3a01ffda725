"""What load does: latency by the share of capacity, overload, fairness, and what is still delivered."""

import statistics
import time

from generator import fanout, load, rate
from model import Section
from process import (BEFORE, ORDINARY, UNLIMITED, beside, busy, third_of_a_cpu, metric, quantile, ringroom,
                     total)

SHARES = (0.25, 0.5, 0.75, 0.9)
# Rooms so large that a message takes milliseconds to write: there the server is the limit, and not the
# generator, and what waits meanwhile is written together.
ROOMS, MEMBERS = 2, 1000
# Seconds that goodput looks on for beside those of the load: five before it, the others after.
AFTER = 14


def _peak(server, seconds, in_flight=1):
    """Messages a second that are delivered when there is always more to do."""
    return rate(fanout(server, ROOMS, MEMBERS, "--in-flight", in_flight, "--seconds", seconds + 1, "--warmup", 1))


def _peaks(server, seconds):
    """The same with four times as many in flight each time, until that brings no more: writes are joined, so the
    most comes with many under way."""
    peaks = {}
    for in_flight in 1, 4, 16, 64, 256, 1024:
        before = max(peaks.values(), default=0)
        peaks[in_flight] = _peak(server, seconds, in_flight)
        if peaks[in_flight] < before * 1.05:
            break
    return peaks


def _offer(server, deliveries, *more, **options):
    """Publishes for so many deliveries a second, whatever becomes of them."""
    return fanout(server, ROOMS, MEMBERS, "--rate", deliveries / MEMBERS / ROOMS, *more, **options)


def latency(scale):
    section = Section("latency", "Latency by load", "From the moment a message was meant to be sent to its arrival, in "
                      "rooms of 100, at shares of the capacity that was found just before (one message always in "
                      "flight); on one core, and over two that share its CPU.")
    for name, options in ("same core", {}), ("across cores", {"cores": 2, "cpus": "0"}):
        rows, curves = [], {"p50": [], "p99": [], "p99.9": []}
        with ringroom(settings=[UNLIMITED], first=ORDINARY, **options) as server:
            best = fanout(server, 1, 100, "--in-flight", 1, "--seconds", scale.short + 1, "--warmup", 1)
            capacity = rate(best)
            for share in SHARES:
                at = fanout(server, 1, 100, "--rate", capacity * share / 100, "--seconds", scale.long, "--warmup",
                            1)["latency"]
                rows.append((f"{share:.0%}", f"{capacity * share:,.0f}", at["p50"], at["p99"], at["p999"]))
                for curve, key in zip(curves.values(), ("p50", "p99", "p999"), strict=True):
                    curve.append((share * 100, at[key]))
        section.note(f"{name}: capacity {capacity:,.0f} deliveries a second")
        section.table((f"{name}: load", "deliveries a second", "p50, µs", "p99, µs", "p99.9, µs"), rows)
        section.chart(f"latency-{name.replace(' ', '-')}", f"Latency by load, {name}", "% of capacity", "µs",
                      list(curves.items()), y_logarithmic=True)
        at_half = dict(curves["p99"])[50]
        section.claim(f"latency, {name}, p99 at half load", at_half / 1e3, 2, " ms")
    return section


def timers(scale):
    section = Section("timers", "Timers under load", "Lateness of timers while a core is asked for half as many echoes "
                      "again as it can do.")
    echoes = ("-n", 200, "--size", 32, "--dialect", "raw-binary", "--cpus", 1)
    with ringroom(first=ORDINARY) as server:
        url = server.url("/echo")
        capacity = rate(load("echo", *echoes, "--seconds", scale.short, "--in-flight", 8, "--url", url))
        # That more is asked for than can be done is meant, and so are the doubts that follow from it.
        load("echo", *echoes, "--seconds", scale.long, "--rate", int(capacity * 1.5), "--url", url, quiet_doubts=True)
        late = quantile(metric(server, "ringroom_timer_lateness_seconds"), 0.99)
    section.note(f"offered 1.5 times {capacity:,.0f} messages a second")
    section.claim("timers, lateness p99 at 150 % load", late * 1e3, 100, " ms")
    return section


def overload(scale):
    section = Section("overload", "Overload", "Timers and inboxes while rooms ask for half as much again as can be done: "
                      "one core, and two that share its CPU.")
    histograms = [f"ringroom_{name}_seconds" for name in ("timer_lateness", "inbox_delay", "loop_time")]
    for count in 1, 2:
        with ringroom(cores=count, settings=[UNLIMITED], first=ORDINARY) as server:
            capacity = _peak(server, scale.short)
            earlier = [metric(server, name) for name in histograms]
            offered = beside(_offer, server, capacity * 1.5, "--seconds", scale.long, quiet_doubts=True)
            time.sleep(2)
            share = busy(server, max(1, scale.long - 3))
            offered()
            late, delay, tick = (quantile(metric(server, name), 0.99, before) * 1e3
                                 for name, before in zip(histograms, earlier, strict=True))
        section.note(f"cores: {count}; offered 1.5 times {capacity:,.0f} deliveries a second, {share:.2f} CPUs busy, "
                     f"a tick at most {tick:.0f} ms at the 99th percentile")
        section.claim(f"overload, cores: {count}, timer lateness p99", late, 100, " ms")
        if count > 1:
            section.claim("overload, inbox delay p99", delay, 50, " ms")
    return section


def _quiet(server, seconds):
    """Latencies in a hundred rooms where little is said, as a generator that goes before the others sees them."""
    return fanout(server, 100, 3, "--rate", 2, "--seconds", seconds, "--warmup", 1, first=BEFORE)


def fairness(scale):
    section = Section("fairness", "Fairness", "Quiet rooms beside one of a thousand whose publishers never pause. The "
                      "server is an ordinary task, and so is the generator of the noise; the one that measures goes "
                      "before it on its CPU.")
    with ringroom(settings=[UNLIMITED], first=ORDINARY) as server:
        alone = _quiet(server, scale.long)["latency"]
        noisy = beside(fanout, server, 1, MEMBERS, "--publishers", 4, "--in-flight", 1, "--seconds", scale.long + 6,
                       first=ORDINARY)
        time.sleep(3)
        quiet = beside(_quiet, server, scale.long)
        share = busy(server, scale.long)
        noisy()
        among = quiet()["latency"]
    section.table(("quiet rooms", "p50, µs", "p90, µs", "p99, µs"),
                  [("alone", *(alone[key] for key in ("p50", "p90", "p99"))),
                   ("beside", *(among[key] for key in ("p50", "p90", "p99")))])
    section.note(f"{share:.2f} CPUs busy")
    section.claim("fairness, quiet p99 beside a noisy room, times alone", among["p99"] / max(1, alone["p99"]), 3.0)
    return section


def goodput(scale):
    section = Section("goodput", "Goodput", "What is delivered when twice as much is offered as can be, and how soon "
                      "all is well again. The peak is the most that two rooms were delivered in a closed loop, with more "
                      "and more messages in flight until that brought no more. The server has a third of a CPU and the generator a whole one, so that "
                      "the server is what is full.")
    with ringroom(settings=[UNLIMITED], first=ORDINARY) as server, third_of_a_cpu():
        peaks = _peaks(server, scale.short)
        capacity = max(peaks.values())
        probe = beside(_quiet, server, scale.long + AFTER)
        began = time.monotonic()
        time.sleep(5)
        over = _offer(server, capacity * 2, "--seconds", scale.long, "--warmup", 1, "--drain", 0.1, quiet_doubts=True)
        ended = time.monotonic() - began
        series = probe()["series"]
        gaps = total(server, "ringroom_gaps")
    delivered, totals = rate(over), over["totals"]
    calm = statistics.median([second["p99_us"] for second in series if 1 < second["at"] < 4] or [0])
    well = [second["at"] for second in series if second["at"] > ended and second["p99_us"] <= 3 * calm + 1000]
    # Seconds are counted whole: well within the one that ended is well at once.
    recovery = max(0.0, min(well, default=scale.long + AFTER) - ended)
    generator_share = over["generator"]["cpu_ns"] / 1e9 / max(over["seconds"], 1e-9)
    section.table(("in flight", "deliveries a second"), [(name, f"{peak:,.0f}") for name, peak in peaks.items()])
    section.note(f"{delivered:,.0f} of {capacity:,.0f} a second; the generator was {generator_share:.0%} busy")
    section.note(f"what was offered and not delivered: {totals['unsent']:,} messages not taken from their publishers, whom "
                 f"the server stops reading; {totals['announced_gaps']:,} deliveries announced as gaps (the server counts "
                 f"{gaps:,.0f} gaps); {totals['lost']:,} deliveries still under way when the load ended; "
                 f"{totals['dropped']} connections ended")
    section.claim("goodput at 200 %, times the peak", delivered / capacity, 0.9, least=True)
    section.claim("goodput, connections ended by it", totals["dropped"], 0)
    section.claim("goodput, seconds until latencies are as before", recovery, 5, " s")
    return section
