"""Figures in other pages, kept up to date: `0.96<!-- connection_kb -->` names what the number is.

What can be measured comes from the sections: their figures by name, and their claims, by the words of
each joined by underscores. The rest is reckoned from those here, so that a page holds no number that
nobody can make again.
"""

import re

# A number, or a dash until it was measured, and its name.
MARK = re.compile(r"(?P<value>[\d.,]+|—)<!-- (?P<name>\w+) -->")

KERNEL_BYTES = 4_085  # an established connection's objects, by the table in tuning/README.md
MILLION = 1_000_000


def known_from(sections):
    """All that pages may refer to."""
    figures = {}
    for section in sections:
        figures.update({claim_name(claim.name): claim.value for claim in section.claims})
        figures.update(section.figures)
    return reckon(figures)


def claim_name(words):
    return "_".join(re.findall(r"[a-z0-9.]+", words.lower())).replace(".", "_")


def reckon(figures):
    """What follows from the measured figures; nothing where one of them is missing."""
    known = dict(figures)
    rules = {
        "box_4_gb": lambda f: _connections(f, 0.5),
        "box_8_gb": lambda f: _connections(f, 4.5),
        "box_16_gb": lambda f: _connections(f, 12.5),
        "box_64_gb": lambda f: _connections(f, 60.5),
        "million_process_gb": lambda f: MILLION * _planned_kb(f) * 1024 / 1e9,
        "million_heartbeat_cpus": lambda f: MILLION * f["session_us"] / 1e6,
        "million_echo_cpus": lambda f: MILLION / 60 * f["echo_us"] / 1e6,
        "million_broadcast_seconds": lambda f: MILLION * f["delivery_1_us"] / 1e6,
        "million_broadcast_share_seconds": lambda f: MILLION * f["delivery_1_us"] / 1e6 / 16,
        "million_storm_seconds": lambda f: MILLION * f["handshake_us"] / 1e6 / 16,
    }
    for name, rule in rules.items():
        try:
            known[name] = rule(figures)
        except KeyError:
            continue
    return known


def _planned_kb(figures):
    """Process memory of a connection to plan with, in units of 1,024 bytes: in a room, or the most that one had."""
    return max(figures["joined_kb"], figures["session_kb"])


def _connections(figures, left_gb):
    return left_gb * 1e9 / (_planned_kb(figures) * 1024 + KERNEL_BYTES)


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
    if value >= 10_000:
        # Reckoned from two digits that matter, so no more are shown.
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
