//! Line charts as SVG: black on white, told apart by dashes as well as by colour, so that they
//! survive a printer.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Points of a line at most: more do not show.
const POINTS_MAX: usize = 1_000;
const STYLES: [(&str, &str); 4] =
    [("#0b5394", ""), ("#b45f06", "6 3"), ("#38761d", "2 3"), ("#741b47", "9 3 2 3")];

/// One line of a chart.
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// Its points, by ascending x; where there is no value, the line has a hole.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A chart: its lines share both axes.
pub(super) struct Chart {
    /// What it shows.
    pub(super) title: &'static str,
    /// Name of the horizontal axis.
    pub(super) x: &'static str,
    /// Marks of the horizontal axis; empty: evenly spaced numbers.
    pub(super) x_marks: Vec<(f64, String)>,
    /// Name of the vertical axis.
    pub(super) y: &'static str,
    /// Whether the vertical axis is logarithmic.
    pub(super) logarithmic: bool,
    /// Its lines.
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// The chart as an `<svg>` element; nothing if it has no values.
    #[must_use]
    pub(super) fn render(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if points().all(|(_, y)| y.is_none()) {
            return String::new();
        }
        let Some((first, _)) = points().next() else { return String::new() };
        let (low, high) =
            points().fold((*first, *first), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
        let top = points().filter_map(|(_, y)| *y).fold(0.0, f64::max);
        let scale = Scale::new((low, high), top, self.logarithmic);
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
             <text x=\"{LEFT}\" y=\"14\" class=\"title\">{}</text>",
            self.title, self.title
        );
        self.render_axes(&mut out, &scale);
        for (index, line) in self.lines.iter().enumerate() {
            render_line(&mut out, &scale, index, line);
        }
        out.push_str("</svg>\n");
        out
    }

    fn render_axes(&self, out: &mut String, scale: &Scale) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for value in scale.y_marks() {
            let y = scale.y(value);
            let _ = write!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                number(value)
            );
        }
        let even;
        let marks = if self.x_marks.is_empty() {
            even = scale.x_marks();
            &even
        } else {
            &self.x_marks
        };
        for (value, text) in marks {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"middle\">{text}</text>",
                scale.x(*value),
                bottom + 14.0
            );
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"mark\" text-anchor=\"middle\">{}</text>\
             <text x=\"12\" y=\"{:.1}\" class=\"mark\" transform=\"rotate(-90 12 {:.1})\" \
             text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            self.x,
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            self.y
        );
    }
}

fn render_line(out: &mut String, scale: &Scale, index: usize, line: &Line) {
    let (colour, dashes) = STYLES[index % STYLES.len()];
    let step = line.points.len().div_ceil(POINTS_MAX).max(1);
    let points: Vec<_> = line.points.iter().step_by(step).collect();
    for piece in points.split(|(_, y)| y.is_none()).filter(|piece| !piece.is_empty()) {
        let mut path = String::new();
        let points = piece.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
        // Twice, so that a point between two holes shows.
        let last = points.clone().next_back();
        for (x, y) in points.chain(last) {
            let _ = write!(path, "{:.1},{:.1} ", scale.x(x), scale.y(y));
        }
        let _ = write!(
            out,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" \
             stroke-linecap=\"round\" stroke-dasharray=\"{dashes}\"/>"
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
    let legend = WIDTH - RIGHT - 110.0 * (index + 1) as f64;
    let _ = write!(
        out,
        "<line x1=\"{legend:.1}\" y1=\"10\" x2=\"{:.1}\" y2=\"10\" stroke=\"{colour}\" \
         stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\
         <text x=\"{:.1}\" y=\"14\" class=\"mark\">{}</text>",
        legend + 22.0,
        legend + 27.0,
        line.name
    );
}

struct Scale {
    x: (f64, f64),
    bottom: f64,
    top: f64,
    logarithmic: bool,
}

impl Scale {
    fn new(x: (f64, f64), top: f64, logarithmic: bool) -> Self {
        let top = if top > 0.0 { top } else { 1.0 };
        if logarithmic {
            return Self { x, bottom: 0.0, top: top.max(10.0).log10().ceil(), logarithmic };
        }
        let step = nice(top / 4.0);
        Self { x, bottom: 0.0, top: (top / step).ceil() * step, logarithmic }
    }

    fn x(&self, value: f64) -> f64 {
        let span = (self.x.1 - self.x.0).max(1e-9);
        LEFT + (value - self.x.0) / span * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1.0).log10() } else { value };
        let share = (value - self.bottom) / (self.top - self.bottom);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn y_marks(&self) -> Vec<f64> {
        let step = if self.logarithmic { 1.0 } else { nice(self.top / 4.0) };
        std::iter::successors(Some(0.0), |mark| Some(mark + step))
            .take_while(|mark| *mark <= self.top + step / 1e3)
            .map(|mark| if self.logarithmic { 10_f64.powf(mark) } else { mark })
            .collect()
    }

    fn x_marks(&self) -> Vec<(f64, String)> {
        let step = nice((self.x.1 - self.x.0).max(1e-9) / 6.0);
        let first = (self.x.0 / step).ceil() * step;
        std::iter::successors(Some(first), |mark| Some(mark + step))
            .take_while(|mark| *mark <= self.x.1)
            .map(|mark| (mark, number(mark)))
            .collect()
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let rest = value / power;
    power * [1.0, 2.0, 5.0].into_iter().find(|step| rest <= *step).unwrap_or(10.0)
}

fn number(value: f64) -> String {
    match value {
        1e9.. => format!("{}G", value / 1e9),
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_its_lines_within_its_frame() {
        let line = Line {
            name: "p50",
            points: vec![(0.0, Some(5.0)), (1.0, Some(2_000.0)), (2.0, Some(10.0))],
        };
        for logarithmic in [false, true] {
            let chart = Chart {
                title: "t",
                x: "s",
                x_marks: Vec::new(),
                y: "us",
                logarithmic,
                lines: vec![Line { name: line.name, points: line.points.clone() }],
            };
            let scale = Scale::new((0.0, 2.0), 2_000.0, logarithmic);
            assert!(scale.y(2_000.0) >= TOP && scale.y(0.0) <= HEIGHT - BOTTOM);
            let svg = chart.render();
            assert!(svg.starts_with("<svg") && svg.contains("<polyline"), "{svg}");
        }
        assert_eq!(nice(3.2), 5.0);
        assert_eq!(nice(0.07), 0.1);
    }

    #[test]
    fn where_there_is_no_value_there_is_a_hole() {
        let pieces = |values: &[Option<f64>]| {
            let points = (0..).map(f64::from).zip(values.iter().copied()).collect();
            let scale = Scale::new((0.0, 9.0), 10.0, true);
            let mut out = String::new();
            render_line(&mut out, &scale, 0, &Line { name: "p50", points });
            out.matches("<polyline").count()
        };
        assert_eq!(pieces(&[Some(1.0), Some(2.0)]), 1);
        assert_eq!(pieces(&[Some(1.0), None, None, Some(2.0), None]), 2);
        assert_eq!(pieces(&[None]), 0);
    }

    #[test]
    fn no_points_no_chart() {
        let chart = Chart {
            title: "t",
            x: "",
            x_marks: Vec::new(),
            y: "",
            logarithmic: false,
            lines: Vec::new(),
        };
        assert_eq!(chart.render(), "");
    }
}
