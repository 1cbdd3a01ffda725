"""Charts as SVG: lines in shades and dashes that a printer without colours tells apart, and no script."""

import math
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 56, 50
INKS = (("#1b1b1b", ""), ("#1f5fa8", "7 3"), ("#b3401d", "2 3"), ("#3f7d3a", "9 3 2 3"), ("#7a4f9a", "4 4"))


def draw(chart):
    """The chart as the text of a file."""
    points = [point for _, line in chart.series for point in line]
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, from_zero=True)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, from_zero=True, logarithmic=chart.y_logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#1b1b1b">',
        f'<title>{escape(chart.title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, chart.title, "start", ' font-size="14" font-weight="bold"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, chart.x, "middle"),
        _text(LEFT, TOP - 14, chart.y, "end"),
        *_grid(across, up),
    ]
    for index, (label, line) in enumerate(chart.series):
        parts += _line(label, line, INKS[index % len(INKS)], across, up, TOP + 14 + 18 * index)
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """Values to places, and the round values that are marked."""

    def __init__(self, values, start, end, from_zero=False, logarithmic=False):
        values = values or [0, 1]
        self.start, self.end = start, end
        self.logarithmic = logarithmic and min(values) > 0
        if self.logarithmic:
            self.low = 10 ** math.floor(math.log10(min(values)))
            self.high = 10 ** max(math.ceil(math.log10(max(values))), math.floor(math.log10(min(values))) + 1)
            self.marks = [10 ** power for power in range(_power(self.low), _power(self.high) + 1)]
            return
        low = 0 if from_zero else min(values)
        step = _step((max(values) - low) or 1)
        self.low, self.high = low, low + step * math.ceil(round((max(values) - low) / step, 9) or 1)
        self.marks = [low + step * index for index in range(round((self.high - low) / step) + 1)]

    def place(self, value):
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _power(value):
    return round(math.log10(value))


def _step(span):
    """A round step that marks the span four to eight times."""
    rough = 10 ** math.floor(math.log10(span / 4))
    return next(rough * factor for factor in (1, 2, 2.5, 5, 10) if span / (rough * factor) <= 6)


def _number(value):
    if value and (value >= 10_000 and value % 1000 == 0):
        return f"{value / 1000:,.0f}k"
    return f"{value:,.10g}"


def _text(x, y, words, anchor, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _grid(across, up):
    for mark in up.marks:
        y = up.place(mark)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d0d0d0" stroke-width="1"/>'
        yield _text(LEFT - 8, y + 4, _number(mark), "end")
    for mark in across.marks:
        x = across.place(mark)
        yield f'<path d="M{x:.1f} {HEIGHT - BOTTOM}v5" stroke="#1b1b1b" stroke-width="1"/>'
        yield _text(x, HEIGHT - BOTTOM + 18, _number(mark), "middle")
    yield f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#1b1b1b"/>'


def _line(label, line, ink, across, up, key_y):
    colour, dashes = ink
    stroke = f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
    places = [(across.place(x), up.place(y)) for x, y in line]
    if places:
        yield f'<path d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in places)}" {stroke}/>'
    if len(places) <= 20:
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    yield f'<path d="M{WIDTH - RIGHT + 12} {key_y - 4}h24" {stroke}/>'
    yield _text(WIDTH - RIGHT + 42, key_y, label, "start")
