"""What a run found out, as data: sections of claims, tables and charts, and their JSON.

Everything that is printed or drawn is made from this and nothing else, so a stored result renders
as it did on the day it was taken.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Spread:
    """A median, and the least and the greatest of what it is the median of."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        values = sorted(values)
        return cls(statistics.median(values), values[0], values[-1])

    @classmethod
    def ratio(cls, ours, theirs):
        """Of what was measured in pairs."""
        return cls.of(mine / other for mine, other in zip(ours, theirs, strict=True))


@dataclass
class Claim:
    """A target, and what was measured."""

    name: str
    value: float
    target: float
    unit: str = ""
    least: bool = False
    low: float | None = None
    high: float | None = None
    # If it is missed, why: a sentence of what was measured beside it.
    why: str = ""

    @property
    def met(self):
        return self.value >= self.target if self.least else self.value <= self.target


@dataclass
class Table:
    """Rows of words and numbers; numbers carry their own rounding."""

    columns: list[str]
    rows: list[list[str]]


@dataclass
class Chart:
    """Lines over a common x axis: a label and points for each."""

    name: str
    title: str
    x: str
    y: str
    series: list[tuple[str, list[tuple[float, float]]]]
    y_logarithmic: bool = False


@dataclass
class Taken:
    """When, of what and on what a section was taken, and the load of the machine just before."""

    date: str
    commit: str
    kernel: str
    load: float | None = None
    # Pairs of a word and what it was; none of what was stored without.
    machine: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Section:
    """One chapter of the report."""

    name: str
    title: str
    about: str
    notes: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    # What other pages refer to, by name: see pages.py.
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    taken: Taken | None = None

    def note(self, text):
        self.notes.append(text)
        print(f"     {text}", flush=True)

    def claim(self, name, value, target, unit="", least=False, why=""):
        """Holds a value, or the median of a spread, against a target."""
        low = high = None
        if isinstance(value, Spread):
            value, low, high = value.median, value.low, value.high
        claim = Claim(name, value, target, unit, least, low, high, why)
        self.claims.append(claim)
        bound = "at least" if least else "at most"
        word = "ok  " if claim.met else "MISS"
        print(f"{word} {name}: {value:.3f}{unit} (target: {bound} {target}{unit})", flush=True)

    def table(self, columns, rows):
        self.tables.append(Table(list(columns), [[str(cell) for cell in row] for row in rows]))
        for row in rows:
            print("     " + " | ".join(map(str, row)), flush=True)

    def chart(self, *arguments, **options):
        self.charts.append(Chart(*arguments, **options))


@dataclass
class Chapter:
    """How a section is measured, and what it is about at a scale."""

    name: str
    title: str
    about: str | Callable
    measure: Callable

    def about_at(self, scale):
        return self.about(scale) if callable(self.about) else self.about

    def __call__(self, scale):
        """The section, measured."""
        section = Section(self.name, self.title, self.about_at(scale))
        self.measure(section, scale)
        return section


def chapter(name, title, about):
    """Makes a chapter of the function that measures it, which is given its section and the scale."""
    return functools.partial(Chapter, name, title, about)


def current(sections, chapters, scale):
    """Those of the sections that the source describes as they were described when they were taken. What it measures
    otherwise now is no figure of it."""
    return [section for section in sections if section.about == chapters[section.name].about_at(scale)]


def to_json(sections):
    return [dataclasses.asdict(section) for section in sections]


def from_json(stored):
    return [_section(entry) for entry in stored]


def _section(entry):
    entry = dict(entry)
    entry["claims"] = [Claim(**claim) for claim in entry["claims"]]
    entry["tables"] = [Table(**table) for table in entry["tables"]]
    entry["charts"] = [Chart(**chart) for chart in entry["charts"]]
    if entry["taken"]:
        entry["taken"] = Taken(**entry["taken"])
        entry["taken"].machine = [tuple(pair) for pair in entry["taken"].machine]
    return Section(**entry)
