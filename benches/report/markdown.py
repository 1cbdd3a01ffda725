"""The report as Markdown, from sections and nothing else."""

from collections import Counter

BY_HAND = ("peers", "long-hold", "churn", "soak")


def render(sections, command, unmeasured=(), outdated=()):
    """The whole text. `unmeasured`: names of sections that are not here; `outdated`: of those whose figures are of
    something else than the source measures now."""
    machine = _machine(sections)
    claims = [(section, claim) for section in sections for claim in section.claims]
    missed = [claim for _, claim in claims if not claim.met]
    lines = [
        "# Measured", "",
        f"Written by `{command}`; nothing here was typed in. Each figure is of one machine and one day; what carries "
        "over to another machine are the ratios. Where a spread is shown, values were taken again and again within one run, "
        "those of a ratio in turn: the figure is the median, the spread from the least to the greatest. Where none is "
        "shown, it is of a single run. CPU is what the scheduler accounts to the threads of a process.", "",
        f"**{len(claims) - len(missed)} of {len(claims)} targets met.**"
        + (" Missed: " + "; ".join(claim.name for claim in missed) + "." if missed else ""), "",
        *_named("Never measured", unmeasured),
        *_named("To be measured anew, since what is measured has changed", outdated),
        "## Machine", "", _when(sections), "", *(_table(("", ""), machine) if machine else ()), "",
        "## Targets", "", *_claims(claims), "",
        *_missed(claims),
    ]
    for section in sections:
        lines += _section(section, machine)
    return "\n".join(lines).rstrip() + "\n"


def _when(sections):
    """Of which days and of what source the sections are, and what the table of the machine says of them."""
    taken = [section.taken for section in sections if section.taken]
    days = sorted({each.date for each in taken})
    sources = Counter(each.commit for each in taken)
    named = ", ".join(f"{commit} ({count})" for commit, count in sources.most_common())
    return (f"Taken {' to '.join(sorted({days[0], days[-1]}))}, of " if days else "Taken of ") + (
        f"{named or 'nothing'}, by sections. What follows is of those that say nothing else.")


def _machine(sections):
    """What most of the sections were taken on, as pairs of a word and what it was."""
    machines = Counter(tuple(section.taken.machine) for section in sections if section.taken and section.taken.machine)
    return max(machines, key=machines.get, default=())


def _otherwise(taken, machine):
    """In what the machine of a section was another than that of most, in a sentence."""
    if not taken.machine:
        return " What else the machine was is not stored." if machine else ""
    here = dict(taken.machine)
    differs = [f"{word} {here.get(word, 'not there')}" for word in dict(machine) | here
               if here.get(word) != dict(machine).get(word)]
    return f" Otherwise than in the table: {'; '.join(differs)}." if differs else ""


def _named(what, names):
    if not names:
        return []
    words = (f"`{name}`{' (run by hand)' if name in BY_HAND else ''}" for name in names)
    return [f"**{what}:** {', '.join(words)}.", ""]


def _claims(claims):
    rows = []
    for section, claim in claims:
        bound = "at least" if claim.least else "at most"
        spread = "" if claim.low is None else f"{_number(claim.low)} to {_number(claim.high)}"
        verdict = "met" if claim.met else "**missed**"
        rows.append((f"[{claim.name}](#{_anchor(section.title)})", f"{_number(claim.value)}{claim.unit}", spread,
                     f"{bound} {_number(claim.target)}{claim.unit}", verdict))
    return _table(("claim", "measured", "spread", "target", ""), rows)


def _missed(claims):
    """Why targets are missed, as far as what was measured tells."""
    lines = []
    for section, claim in claims:
        if not claim.met:
            lines.append(f"- [{claim.name}](#{_anchor(section.title)}): {_held(claim)}. "
                         + (claim.why or "What was measured beside it does not tell why."))
    return ["## Missed", "", *lines, ""] if lines else []


def _held(claim):
    """What was measured, and what is wanted."""
    bound = "at least" if claim.least else "at most"
    return f"**{_number(claim.value)}{claim.unit}**, {bound} {_number(claim.target)}{claim.unit}"


def _section(section, machine):
    lines = [f"## {section.title}", "", section.about, ""]
    for table in section.tables:
        lines += [*_table(table.columns, table.rows), ""]
    for chart in section.charts:
        lines += [f"![{chart.title}](charts/{chart.name}.svg)", ""]
    for note in section.notes:
        lines.append(f"- {note}")
    for claim in section.claims:
        lines.append(f"- {claim.name}: {_held(claim)}: {'met' if claim.met else '**missed**'}")
    for doubt in section.doubts:
        lines.append(f"- In doubt: {doubt}")
    if lines[-1]:
        lines.append("")
    if section.taken:
        taken = section.taken
        by_hand = "; run by hand" if section.name in BY_HAND else ""
        load = "" if taken.load is None else f", load before {taken.load:.2f}"
        lines += [f"Taken {taken.date}, commit {taken.commit}, kernel {taken.kernel}{load}, in {section.seconds:.0f} s"
                  f"{by_hand}.{_otherwise(taken, machine)}", ""]
    if section.commands:
        lines += ["<details><summary>commands</summary>", "", "```", *section.commands, "```", "", "</details>", ""]
    return lines


def _table(columns, rows):
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def _number(value):
    """Three digits that matter, and no more zeros than that needs."""
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def _anchor(title):
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")
