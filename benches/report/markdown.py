"""The report as Markdown, from sections and nothing else."""

BY_HAND = ("peers", "long-hold", "churn", "soak")


def render(sections, machine, command, unmeasured=()):
    """The whole text. `machine`: pairs of a word and what it is. `unmeasured`: names of sections that are not here."""
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
        *_unmeasured(unmeasured),
        "## Machine", "", *_table(("", ""), machine), "",
        "## Targets", "", *_claims(claims), "",
    ]
    for section in sections:
        lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _unmeasured(names):
    if not names:
        return []
    words = (f"`{name}`{' (run by hand)' if name in BY_HAND else ''}" for name in names)
    return [f"**Never measured:** {', '.join(words)}.", ""]


def _claims(claims):
    rows = []
    for section, claim in claims:
        bound = "at least" if claim.least else "at most"
        spread = "" if claim.low is None else f"{_number(claim.low)} to {_number(claim.high)}"
        verdict = "met" if claim.met else "**missed**"
        rows.append((f"[{claim.name}](#{_anchor(section.title)})", f"{_number(claim.value)}{claim.unit}", spread,
                     f"{bound} {_number(claim.target)}{claim.unit}", verdict))
    return _table(("claim", "measured", "spread", "target", ""), rows)


def _section(section):
    lines = [f"## {section.title}", "", section.about, ""]
    for table in section.tables:
        lines += [*_table(table.columns, table.rows), ""]
    for chart in section.charts:
        lines += [f"![{chart.title}](charts/{chart.name}.svg)", ""]
    for note in section.notes:
        lines.append(f"- {note}")
    for claim in section.claims:
        bound = "at least" if claim.least else "at most"
        lines.append(f"- {claim.name}: **{_number(claim.value)}{claim.unit}**, {bound} "
                     f"{_number(claim.target)}{claim.unit}: {'met' if claim.met else '**missed**'}")
    for doubt in section.doubts:
        lines.append(f"- A run is in doubt: {doubt}")
    if lines[-1]:
        lines.append("")
    if section.taken:
        taken = section.taken
        by_hand = "; run by hand" if section.name in BY_HAND else ""
        load = "" if taken.load is None else f", load before {taken.load:.2f}"
        lines += [f"Taken {taken.date}, commit {taken.commit}, kernel {taken.kernel}{load}, in {section.seconds:.0f} s"
                  f"{by_hand}.", ""]
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
