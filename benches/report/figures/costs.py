"""What a message costs: echo, delivery, over two cores, deflated; and what the generator costs."""

from generator import (alternate, closed_echo, echo_cost, fanout_cost, kernels_share, listening_cost, load, own_cost,
                       rate)
from model import Spread, chapter
from process import floor, ringroom, total


def _row(name, costs_ns, base_ns):
    cost, times = Spread.of(costs_ns), Spread.ratio(costs_ns, base_ns)
    return name, f"{cost.median / 1e3:.2f}", f"{times.median:.2f}", f"{times.low:.2f} to {times.high:.2f}"


def _compare(section, what, values, base):
    """A table of all that was measured in turn, each as a ratio to the base of its own round."""
    columns = (what, "CPU, µs", f"times {base}", "spread")
    section.table(columns, [_row(name, costs, values[base]) for name, costs in values.items()])


@chapter("echo", "Echo", "CPU of the server for a message in and a message out: 200 connections, 32 B, "
         "one message in flight on each, by the bare client.")
def echo(section, scale):
    with ringroom() as ours, floor("floor-epoll-echo") as epoll, floor("floor-uring-echo") as uring:
        values = alternate(scale.rounds, {
            "ringroom": lambda: echo_cost(ours, scale.short, "/echo")[0],
            "bare epoll": lambda: echo_cost(epoll, scale.short)[0],
            "bare io_uring": lambda: echo_cost(uring, scale.short)[0],
        })
        most = {name: rate(closed_echo(server, scale.short, path)[0])
                for name, server, path in (("ringroom", ours, "/echo"), ("bare epoll", epoll, "/"))}
    _compare(section, "server", values, "bare epoll")
    section.note("; ".join(f"{name}: {most[name]:,.0f} echoes a second at most" for name in most))
    section.figures["echo_us"] = Spread.of(values["ringroom"]).median / 1e3
    section.claim("echo, CPU a message, times bare epoll", Spread.ratio(values["ringroom"], values["bare epoll"]), 1.05)


@chapter("fanout", "Fan-out", lambda scale: f"CPU of the server for a delivery in a room of {scale.members:,}, 64 B of "
         "payload, with 1 and with 16 messages in flight. The bare programs send each frame as it is, "
         "without rooms, offsets or limits; io_uring hands over all sends of a turn at once.")
def fanout(section, scale):
    costs, shares = {}, {}
    with ringroom() as ours, floor("floor-uring-fanout") as uring, floor("floor-send-fanout") as sends:

        def cost(name, server, in_flight, **options):
            with kernels_share() as kernel:
                server_ns, generator_ns = fanout_cost(server, in_flight, scale.short, members=scale.members, **options)
            costs.setdefault(name, []).append((generator_ns, server_ns))
            shares.setdefault(name, []).extend(kernel)
            return server_ns

        values = alternate(scale.rounds, {
            # The base of all: each frame by a send of its own, one message in flight.
            "bare io_uring, 1": lambda: cost("bare, 1", uring, 1, dialect="raw", path="/"),
            "ringroom, 1": lambda: cost("1", ours, 1),
            "bare send, 1": lambda: cost("send, 1", sends, 1, dialect="raw", path="/"),
            "ringroom, 16": lambda: cost("16", ours, 16),
            "bare io_uring, 16": lambda: cost("bare, 16", uring, 16, dialect="raw", path="/"),
            "bare send, 16": lambda: cost("send, 16", sends, 16, dialect="raw", path="/"),
        })
    _compare(section, "server, in flight", values, "bare io_uring, 1")
    bare, one, many = values["bare io_uring, 1"], values["ringroom, 1"], values["ringroom, 16"]
    section.figures.update(delivery_1_us=Spread.of(one).median / 1e3, delivery_16_us=Spread.of(many).median / 1e3)
    section.claim("fan-out, 1 in flight, times bare io_uring, 1 in flight", Spread.ratio(one, bare), 1.15)
    section.claim("fan-out, 16 in flight, times bare io_uring, 1 in flight", Spread.ratio(many, bare), 0.09)
    for in_flight in "1", "16":
        ours, servers = zip(*costs[in_flight], strict=True)
        why = (f"A message received takes the {_parts('generator', ours, shares[in_flight])}; its delivery takes the server "
               f"{Spread.of(servers).median / 1e3:.2f}.")
        section.claim(f"generator in fan-out, {in_flight} in flight, times the server's CPU",
                      Spread.ratio(ours, servers), 0.5, why=why)


def _parts(who, costs_ns, shares):
    """What a message costs somebody, and whose CPU that is."""
    cost, share = Spread.of(costs_ns).median / 1e3, Spread.of(shares).median
    return (f"{who} {cost:.2f} µs, of which {cost * share:.2f} ({share:.0%}) are the kernel's and "
            f"{cost * (1 - share):.2f} its own")


@chapter("generator", "The generator", lambda scale: "CPU of a client for an echo, 200 connections, 32 B: the load "
         "generator, which verifies and times each message, and a bare io_uring client. And for a message "
         f"received in a room of {scale.members:,}, 64 B: the generator, and a bare io_uring client that "
         "counts frames, both of the same bare server: what a message costs that is only received, which is "
         "mostly the kernel's part with one in flight, and what verifying it adds with many.")
def generator(section, scale):
    with floor("floor-uring-echo") as server:

        shares = {"generator": [], "bare client": []}

        def shared(name, measure):
            with kernels_share() as kernel:
                cost = measure()
            shares[name].extend(kernel)
            return cost

        values = alternate(min(3, scale.rounds), {
            "ringroom-loadgen": lambda: shared("generator", lambda: own_cost(
                closed_echo(server, scale.short, dialect="raw-binary")[0])),
            "bare io_uring client": lambda: shared("bare client", lambda: echo_cost(server, scale.short)[1]),
        })
    _compare(section, "echo", values, "bare io_uring client")
    ratio = Spread.ratio(values["ringroom-loadgen"], values["bare io_uring client"])
    parts = [_parts(f"the {name}", costs, shares[name]) for name, costs in zip(shares, values.values(), strict=True)]
    section.claim("generator in echo, CPU a message, times a bare client", ratio, 1.15,
                  why=f"An echo takes {'; '.join(parts)}.")
    rounds = max(1, scale.rounds // 2)
    with floor("floor-send-fanout") as server:
        for in_flight in 1, 16:
            values = alternate(rounds, {
                "ringroom-loadgen": lambda: fanout_cost(server, in_flight, scale.short, dialect="raw", path="/",
                                                        members=scale.members)[1],
                "bare io_uring client": lambda: listening_cost(server, in_flight, scale.short, scale.members),
            })
            _compare(section, f"received, {in_flight} in flight", values, "bare io_uring client")
            ratio = Spread.ratio(values["ringroom-loadgen"], values["bare io_uring client"])
            section.figures[f"received_{in_flight}_times_bare"] = ratio.median


# Messages a second to a room of a thousand: half of what one core carries here.
OFFERED = 100


@chapter("cores", "One core against two", lambda scale: f"CPU for a delivery when {OFFERED} messages a second are "
         f"published in a room of {scale.members:,} whose members are spread over two cores, which share one CPU here "
         "because the generator needs the other. What two CPUs carry together cannot be measured with a "
         "generator beside them. Nor can a closed loop be compared: in which order the members are written "
         "decides whether the next message comes in time for the same write, and a delivery cost two cores "
         "from 0.4 to 1.9 times what it cost one.")
def cores(section, scale):
    with ringroom() as one, ringroom(cores=2, cpus="0") as two:

        def cost(server):
            return fanout_cost(server, None, scale.short, "--rate", OFFERED, "--warmup", 1, members=scale.members)[0]

        values = alternate(scale.rounds, {"two cores": lambda: cost(two), "one core": lambda: cost(one)})
    _compare(section, "server", values, "one core")
    section.claim("two cores, CPU a delivery, times one", Spread.ratio(*values.values()), 1.15)


@chapter("deflated", "Compression", lambda scale: f"CPU for a delivery of 4 KB of JSON to {scale.members:,} members "
         "that negotiated permessage-deflate, against the same number of bytes sent plain, in a closed loop, as "
         "in the section on fan-out. The generator inflates a message once and compares what others get "
         "with it byte for byte, so that it is no slower in one case than in the other. The target is of "
         "one message in flight; with 16, writes are joined, a delivery costs little, and what compressing "
         "takes for each message is a larger share. And an echo of 4 KB, where each message is inflated and "
         "deflated for one receiver.")
def deflated(section, scale):
    with ringroom() as server:

        def compressed():
            return [total(server, f"ringroom_deflate_{what}") for what in ("compressed_bytes", "messages")]

        def cost(in_flight, size, *flags):
            return fanout_cost(server, in_flight, scale.short, *flags, members=scale.members, size=size)[0]

        before = compressed()
        cost(1, 4096, "--deflate")
        count_bytes, count = (after - first for after, first in zip(compressed(), before, strict=True))
        wire = count_bytes / max(1, count)
        # A plain message is its data and some 130 bytes around it.
        size = max(30, int(wire) - 130)
        values = {in_flight: alternate(min(3, scale.rounds), {
            "deflated": lambda: cost(in_flight, 4096, "--deflate"),
            "the compressed bytes plain": lambda: cost(in_flight, size),
        }) for in_flight in (1, 16)}
        echoes = {flags: load("echo", "-n", 50, "--in-flight", 1, "--size", 4096, "--seconds", scale.short, "--url",
                              server.url("/echo"), "--dialect", "raw", "--cpus", 1, *flags)
                  for flags in ((), ("--deflate",))}
    section.note(f"{wire:.0f} bytes of 4096 on the wire")
    for in_flight, measured in values.items():
        _compare(section, f"delivery, {in_flight} in flight", measured, "the compressed bytes plain")
    plain, small = (rate(phase) for phase in echoes.values())
    section.note(f"echoes of 4 KB: {plain:,.0f} a second plain, {small:,.0f} deflated (the generator deflates, too)")
    ratio = Spread.ratio(*values[1].values())
    section.claim("deflated, CPU a delivery, times the compressed bytes plain", ratio, 1.10)
