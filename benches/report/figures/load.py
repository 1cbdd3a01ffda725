"""What load does: latency by the share of capacity, overload, fairness, and what is still delivered."""

import functools
import statistics
import time
from dataclasses import dataclass

import journal
from generator import alternate, fanout, load, rate
from model import Spread, chapter
from process import (BEFORE, ORDINARY, UNLIMITED, Failed, beside, busy, metric, quantile, ringroom, share_of_a_cpu,
                     total)

SHARES = (0.25, 0.5, 0.75, 0.9)
# Rooms so large that a message takes milliseconds to write: there the server is the limit, and not the
# generator, and what waits meanwhile is written together.
ROOMS, MEMBERS = 2, 1000
# Seconds that goodput looks on for before the load and, beside its warm-up, after it.
CALM = 4
AFTER = 8
# The part of a CPU that the server has where the generator is to offer twice what it can do.
LITTLE = 1 / 3
# The part of a CPU that the server has where noise is to fill it: the generator can fill two thirds of one.
FAIR = 0.5


def _peak(server, seconds):
    """Messages a second that are delivered when there is always one more to do."""
    return rate(fanout(server, ROOMS, MEMBERS, "--in-flight", 1, "--seconds", seconds + 1, "--warmup", 1))


def _delivered(server, deliveries, seconds):
    """What is delivered a second of what is offered."""
    return rate(_offer(server, deliveries, "--seconds", seconds + 1, "--warmup", 1, "--drain", 0.1, quiet_doubts=True))


def search(first, deliver):
    """By what is offered a second, what is delivered: twice as much is offered each time until that has brought no more
    twice."""
    offers, delivered, in_vain = first, {}, 0
    while in_vain < 2:
        most = max(delivered.values(), default=0)
        delivered[offers] = deliver(offers)
        in_vain = 0 if delivered[offers] > most * 1.05 else in_vain + 1
        offers *= 2
    return delivered


def _offer(server, deliveries, *more, **options):
    """Publishes for so many deliveries a second, whatever becomes of them."""
    return fanout(server, ROOMS, MEMBERS, "--rate", deliveries / MEMBERS / ROOMS, *more, **options)


def is_full(share, of=1.0):
    """Whether a server was busy all the time that its CPU was its own; if not, that is noted: what is beside a server
    with time to spare shows little."""
    if share < 0.9 * of:
        journal.doubted(f"the server was busy {share:.2f} of the {of:.2f} CPUs that it could have: it was not full")
        return False
    return True


def offered(phase):
    """Messages a second that were sent, or would have been had the server read them."""
    return (phase["measured"]["sent"] + phase["measured"]["unsent"]) / max(phase["seconds"], 1e-9)


def is_offered(times, of):
    """Whether as many times of what can be done were offered as was meant; if not, that is noted."""
    if times < 0.9 * of:
        journal.doubted(f"{times:.2f} times of what can be done was offered, and not {of:.2f} times")
        return False
    return True


@chapter("latency", "Latency by load", "From the moment a message was meant to be sent to its arrival, in "
         "rooms of 100, at shares of the capacity that was found just before: what is delivered with "
         "one message always in flight. More in flight are written together, and bring more. On one "
         "core, and over two that share its CPU.")
def latency(section, scale):
    for name, options in ("same core", {}), ("across cores", {"cores": 2, "cpus": "0"}):
        rows, curves = [], {"p50": [], "p99": [], "p99.9": []}
        with ringroom(settings=[UNLIMITED], first=ORDINARY, **options) as server:
            best = fanout(server, 1, 100, "--in-flight", 1, "--seconds", scale.short + 1, "--warmup", 1)
            capacity = rate(best)
            for share in SHARES:
                # The target is of half load.
                seconds = scale.long if share == 0.5 else scale.long * 6 // 10
                with journal.during(f"{name}, {share:.0%}"):
                    at = fanout(server, 1, 100, "--rate", capacity * share / 100, "--seconds", seconds, "--warmup",
                                1)["latency"]
                rows.append((f"{share:.0%}", f"{capacity * share:,.0f}", at["p50"], at["p99"], at["p999"]))
                for curve, key in zip(curves.values(), ("p50", "p99", "p999"), strict=True):
                    curve.append((share * 100, at[key]))
        section.note(f"{name}: capacity with one message in flight {capacity:,.0f} deliveries a second")
        section.table((f"{name}: load", "deliveries a second", "p50, µs", "p99, µs", "p99.9, µs"), rows)
        section.chart(f"latency-{name.replace(' ', '-')}", f"Latency by load, {name}", "% of capacity", "µs",
                      list(curves.items()), y_logarithmic=True)
        at_half = dict(curves["p99"])[50]
        section.claim(f"latency, {name}, p99 at half load", at_half / 1e3, 2, " ms")


@chapter("timers", "Timers under load", "Lateness of timers while a core is asked for half as many echoes "
         "again as it can do with one message in flight on each of its connections. The server has half of its CPU, a "
         "tenth of a millisecond at a time, so that it is what is full.")
def timers(section, scale):
    echoes = ("-n", 2_000, "--size", 32, "--dialect", "raw-binary", "--cpus", 1)
    name = "ringroom_timer_lateness_seconds"
    with ringroom(settings=[UNLIMITED], first=[]) as server, share_of_a_cpu(FAIR):
        url = server.url("/echo")
        capacity = rate(load("echo", *echoes, "--seconds", scale.short, "--in-flight", 1, "--url", url))
        earlier = metric(server, name)
        # That more is asked for than can be done is meant, and so are the doubts that follow from it.
        asked = beside(load, "echo", *echoes, "--seconds", scale.long, "--rate", int(capacity * 1.5), "--url", url,
                       quiet_doubts=True)
        time.sleep(2)
        share = busy(server, max(1, scale.long - 3))
        phase = asked()
        late = quantile(metric(server, name), 0.99, earlier)
    is_full(share, FAIR)
    times = offered(phase) / max(1, capacity)
    is_offered(times, 1.5)
    section.note(f"offered {times:.2f} times {capacity:,.0f} messages a second; {share:.2f} CPUs busy, of {FAIR:.2f}")
    section.claim("timers, lateness p99 at 150 % load", late * 1e3, 100, " ms")


@chapter("overload", "Overload", "Timers and inboxes while rooms ask for half as much again as was delivered "
         "just before with one message always in flight in each: one core, and for a minute two that share its "
         "CPU. Whether that is more than can be done is told by how busy the CPUs were: what waits is written "
         "together, and costs less.")
def overload(section, scale):
    for count in 1, 2:
        # Between cores there is nothing where there is one.
        names = ("timer_lateness", "loop_time", "inbox_delay")[:count + 1]
        histograms = [f"ringroom_{name}_seconds" for name in names]
        with ringroom(cores=count, settings=[UNLIMITED], first=ORDINARY) as server:
            capacity = _peak(server, scale.short)
            earlier = [metric(server, name) for name in histograms]
            # Both figures are of the second.
            seconds = scale.overload if count > 1 else scale.long
            asked = beside(_offer, server, capacity * 1.5, "--seconds", seconds, quiet_doubts=True)
            time.sleep(2)
            share = busy(server, max(1, seconds - 3))
            asked()
            late, tick, *delay = (quantile(metric(server, name), 0.99, before) * 1e3
                                 for name, before in zip(histograms, earlier, strict=True))
        is_full(share)
        section.note(f"cores: {count}; for {seconds} s offered 1.5 times {capacity:,.0f} deliveries a second, {share:.2f} CPUs busy, "
                     f"a tick at most {tick:.0f} ms at the 99th percentile")
        section.claim(f"overload, cores: {count}, timer lateness p99", late, 100, " ms")
        if count > 1:
            section.claim("overload, inbox delay p99", *delay, 50, " ms")


def _quiet(server, seconds):
    """Latencies in a hundred rooms where little is said, as a generator that goes before the others sees them."""
    return fanout(server, 100, 3, "--rate", 2, "--seconds", seconds, "--warmup", 1, first=BEFORE)


@chapter("fairness", "Fairness", "Quiet rooms alone, and beside one of a thousand whose publishers never "
         "pause, in turn. The server has half of its CPU, a tenth of a millisecond at a time, so that it is "
         "what is full; alone as well. The generator of the noise is an ordinary task as "
         "well; the one that measures goes before it on its CPU.")
def fairness(section, scale):
    seconds = max(2, scale.long * 6 // 10)
    shares = []
    with ringroom(settings=[UNLIMITED], first=[]) as server, share_of_a_cpu(FAIR):

        def beside_noise():
            noisy = beside(fanout, server, 1, MEMBERS, "--publishers", 4, "--in-flight", 1, "--seconds", seconds + 6,
                           first=ORDINARY)
            time.sleep(3)
            quiet = beside(_quiet, server, seconds)
            shares.append(busy(server, seconds))
            noisy()
            return quiet()["latency"]

        values = alternate(min(3, scale.rounds), {"alone": lambda: _quiet(server, seconds)["latency"],
                                                  "beside": beside_noise})
    keys = ("p50", "p90", "p99")
    section.table(("quiet rooms", "p50, µs", "p90, µs", "p99, µs"), [
        (name, *(f"{Spread.of(phase[key] for phase in phases).median:.0f}" for key in keys))
        for name, phases in values.items()])
    share = Spread.of(shares)
    is_full(share.low, FAIR)
    section.note(f"{share.median:.2f} CPUs busy beside the noise ({share.low:.2f} to {share.high:.2f}), of {FAIR:.2f}")
    ratio = Spread.ratio([phase["p99"] for phase in values["beside"]], [max(1, phase["p99"]) for phase in values["alone"]])
    section.claim("fairness, quiet p99 beside a noisy room, times alone", ratio, 3.0)


@dataclass
class Overloaded:
    """What became of one load of twice the peak, or of as much of it as was offered."""

    offered: float
    delivered: float
    recovery: float
    dropped: int
    server: float
    generator: float
    text: str


def _overloaded(server, deliveries, seconds):
    gaps = total(server, "ringroom_gaps")
    probe = beside(_quiet, server, CALM + seconds + AFTER)
    began = time.monotonic()
    time.sleep(CALM)
    load_made = beside(_offer, server, deliveries, "--seconds", seconds, "--warmup", 1, "--drain", 0.1,
                       quiet_doubts=True)
    time.sleep(2)
    share = busy(server, max(1, seconds - 3))
    over = load_made()
    ended = time.monotonic() - began
    quiet = probe()
    gaps = total(server, "ringroom_gaps") - gaps
    totals = over["totals"]
    dropped = totals["dropped"] + quiet["totals"]["dropped"]
    text = (f"{totals['unsent']:,} messages not taken from their publishers, whom the server stops reading; "
            f"{totals['announced_gaps']:,} deliveries announced as gaps (the server counts {gaps:,.0f} gaps); "
            f"{totals['lost']:,} deliveries still under way when the load ended; {dropped} connections ended")
    return Overloaded(offered(over) * MEMBERS, rate(over), recovery(quiet["series"], ended), dropped, share,
                      over["generator"]["cpu_ns"] / 1e9 / max(over["seconds"], 1e-9), text)


def recovery(series, ended):
    """Seconds from the end of a load until latencies are as in the calm before it. Those in which nothing came have
    none."""
    heard = [second for second in series if second["p99_us"] is not None]
    calm = [second["p99_us"] for second in heard if 1 < second["at"] < CALM]
    if not calm:
        raise Failed("nothing was heard in the calm before the load")
    bound = 3 * statistics.median(calm) + 1000
    well = [second["at"] for second in heard if second["at"] > ended and second["p99_us"] <= bound]
    # Seconds are counted whole: well within the one that ended is well at once.
    return max(0.0, min(well, default=ended + AFTER) - ended)


@chapter("goodput", "Goodput", "What is delivered when twice as much is offered as can be, and how soon "
         "all is well again. What is offered to two rooms is doubled until that has brought no more twice; then the "
         "last of these rates that brought more, the one after it and twice the most that came are offered in turn. The "
         "peak is the greatest of their medians, that of twice as much included: what is delivered of that is compared "
         "with it. The server has a third of a CPU and the generator a whole one, so that the server is what is full.")
def goodput(section, scale):
    with ringroom(settings=[UNLIMITED], first=ORDINARY) as server, share_of_a_cpu(LITTLE):
        delivered = search(_peak(server, scale.short), lambda offers: _delivered(server, offers, scale.short))
        twice = 2 * max(delivered.values())
        measures = {deliveries: functools.partial(_delivered, server, deliveries, scale.short)
                    for deliveries in sorted(delivered)[-3:-1]}
        measures["over"] = lambda: _overloaded(server, twice, max(3, scale.long * 6 // 10))
        values = alternate(min(3, scale.rounds), measures)
    runs = values.pop("over")
    came = Spread.of(run.delivered for run in runs)
    rates = {deliveries: Spread.of(tries) for deliveries, tries in values.items()} | {twice: came}
    section.table(("offered, deliveries a second", "delivered, median", "spread"), [
        (f"{deliveries:,.0f}", f"{spread.median:,.0f}", f"{spread.low:,.0f} to {spread.high:,.0f}")
        for deliveries, spread in rates.items()])
    peak = max(spread.median for spread in rates.values())
    times, share = min(run.offered for run in runs) / peak, min(run.server for run in runs)
    is_offered(times, 2)
    is_full(share, LITTLE)
    section.note(f"at least {times:.2f} times the peak was offered; the server was at least {share:.2f} CPUs busy, of "
                 f"{LITTLE:.2f}, the generator at most {max(run.generator for run in runs):.2f}")
    section.note(f"what was offered and not delivered, in the last of {len(runs)} runs: {runs[-1].text}")
    ratio = Spread(came.median / peak, came.low / peak, came.high / peak)
    section.claim("goodput at 200 %, times the peak", ratio, 0.9, least=True)
    section.claim("goodput, connections ended by it", sum(run.dropped for run in runs), 0)
    section.claim("goodput, seconds until latencies are as before", Spread.of(run.recovery for run in runs), 5, " s")
