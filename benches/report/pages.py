"""Figures in other pages, kept up to date: `0.96<!-- connection_kb -->` names what the number is.

What can be measured comes from the sections: their figures by name, and their claims, by the words of
each joined by underscores, with `_low` and `_high` for their spread. The rest is reckoned from those here, so that a page holds no number that
nobody can make again.
"""

import contextlib
import math
import re

# A number, or a dash until it was measured, and its name.
MARK = re.compile(r"(?P<value>[\d.,]+|—)<!-- (?P<name>\w+) -->")

KERNEL_BYTES = 4_085  # an established connection's objects, by the table in tuning/README.md
# Two pages: what a connection with a little unread or unacknowledged data takes, by net.ipv4.tcp_mem of a profile.
MOVING_BYTES = 2 * 4_096
MILLION = 1_000_000
# GB and cores of the boxes whose connections tuning/README.md reckons.
BOXES = ((4, 2), (8, 2), (16, 4), (32, 8))
SYSTEM_GB = 2
# The bounds that are there whatever the connections are, at their defaults: limits.outbox_total_bytes,
# limits.inbox_total_bytes, rooms.history_bytes, and mesh.backlog_bytes of each core and of what is beside them.
OUTBOX_BYTES, INBOX_BYTES, HISTORY_BYTES, BACKLOG_BYTES = 1 << 30, 256 << 20, 256 << 20, 64 << 20


def known_from(sections):
    """All that pages may refer to."""
    figures = {}
    for section in sections:
        for claim in section.claims:
            name = claim_name(claim.name)
            spread = {} if claim.low is None else {f"{name}_low": claim.low, f"{name}_high": claim.high}
            figures.update({name: claim.value, **spread})
        figures.update(section.figures)
    return reckon(figures)


def claim_name(words):
    return "_".join(re.findall(r"[a-z0-9.]+", words.lower())).replace(".", "_")


def reckon(figures):
    """What follows from the measured figures; nothing where one of them is missing."""
    known = dict(figures)
    rules = {
        "million_process_gb": lambda f: MILLION * _planned_kb(f) * 1024 / 1e9,
        "million_heartbeat_cpus": lambda f: MILLION * f["session_us"] / 1e6,
        "million_echo_cpus": lambda f: MILLION / 60 * f["echo_us"] / 1e6,
        "million_broadcast_seconds": lambda f: MILLION * f["delivery_1_us"] / 1e6,
        "million_broadcast_share_seconds": lambda f: MILLION * f["delivery_1_us"] / 1e6 / 16,
        "million_storm_seconds": lambda f: MILLION * f["handshake_us"] / 1e6 / 16,
    }
    for name, rule in rules.items():
        with contextlib.suppress(KeyError):
            known[name] = rule(figures)
    with contextlib.suppress(KeyError):
        known.update(_million(figures))
        for memory_gb, cores in BOXES:
            known.update(_box(figures, memory_gb, cores))
    return known


def _box(figures, memory_gb, cores):
    """What a box holds: what is left of its memory, the connections that fit into that, their CPU at rest, the cores
    that have twice as much, and the descriptors that each of its cores must have."""
    left = memory_gb * 1e9 - _fixed_bytes(figures, cores)
    # No more than fits, to two digits that matter.
    fits = int(left / _connection_bytes(figures))
    digits = 10 ** max(0, len(str(fits)) - 2)
    connections = fits // digits * digits
    cpus = connections * figures["session_us"] / 1e6
    name = f"box_{memory_gb}_gb"
    return {name: connections, f"{name}_left": left / 1e9, f"{name}_cpus": cpus, f"{name}_cores": math.ceil(2 * cpus),
            f"{name}_descriptors": math.ceil(connections / cores * 1.05) + 256}


def _million(figures, cores=16):
    """The memory of a box for a million by the same rule."""
    bounds = _fixed_bytes(figures, cores) - SYSTEM_GB * 1e9
    return {"million_gb": (_fixed_bytes(figures, cores) + MILLION * _connection_bytes(figures)) / 1e9,
            "million_bounds_gb": bounds / 1e9}


def _fixed_bytes(figures, cores):
    """What is taken off whatever the connections are: for the system, for the bounds, for the process itself."""
    bounds = OUTBOX_BYTES + INBOX_BYTES + HISTORY_BYTES + (cores + 1) * BACKLOG_BYTES
    return SYSTEM_GB * 1e9 + bounds + figures["base_mb"] * (1 << 20)


def _connection_bytes(figures):
    """What a connection takes: in the process, in the kernel, and of what is on its way."""
    return _planned_kb(figures) * 1024 + KERNEL_BYTES + MOVING_BYTES


def _planned_kb(figures):
    """Process memory of a connection to plan with, in units of 1,024 bytes: in a room, or the most that one had."""
    return max(figures["joined_kb"], figures["session_kb"])


def fill(text, known):
    """The page with each marked number replaced by the known one of its name."""

    def replace(mark):
        value = known.get(mark["name"])
        return mark[0] if value is None else f"{_number(value)}<!-- {mark['name']} -->"

    return MARK.sub(replace, text)


def names(text):
    """The names that a page refers to."""
    return {mark["name"] for mark in MARK.finditer(text)}


def _number(value):
    if isinstance(value, int):
        return f"{value:,}"
    if value >= 10_000:
        # Reckoned from two digits that matter, so no more are shown.
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
