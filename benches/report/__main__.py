"""Measures everything that is claimed, and writes benches/REPORT.md and its charts.

    cargo build --release --workspace
    python3 benches/report               the whole report, under 20 minutes
    python3 benches/report NAME…         some sections, printed and nothing written
    python3 benches/report --quick       all of it in some three minutes, printed: whether it works, no figures
    python3 benches/report --peers       other servers beside ours (benches/peers/install.sh first)
    python3 benches/report --long        50,000 held for ten minutes, churn and a soak of twenty each
    python3 benches/report --missing     only what is not stored of this commit: goes on where a run ended
    python3 benches/report --render      the pages anew from what is stored

What was measured is stored in benches/results.json after each section; sections that a run does not
take stay as they were, with their own date and commit. A section that fails is tried once more at the
end, one that takes too long is given up, and the whole report ends in 20 minutes whatever happens.
Exit code 1 if a target is missed, 2 if something could not be measured. It needs Linux, Python and this repository's release build, and a machine that is otherwise
quiet; as root, servers and generator go before other programs.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import journal
import machine
import markdown
import model
import pages
import svg
from figures import connections, costs, doors, load, long, nodes, peers
from process import BIN, Failed, end_all
from scale import FULL, QUICK

BENCHES = machine.ROOT / "benches"
PAGES = tuple(machine.ROOT / folder / "README.md" for folder in ("", "tuning", "loadgen"))
COMMAND = "python3 benches/report"

SECTIONS = {
    "echo": costs.echo, "fanout": costs.fanout, "storm": connections.storm, "hold": connections.hold,
    "kinds": connections.kinds, "latency": load.latency, "deflated": costs.deflated, "cores": costs.cores,
    "generator": costs.generator, "timers": load.timers, "overload": load.overload, "fairness": load.fairness,
    "goodput": load.goodput, "dribble": connections.dribble, "rooms": connections.rooms,
    "impostors": doors.impostors, "quota": doors.quota, "nodes": nodes.nodes,
}
LONG = {"long-hold": long.hold, "churn": long.churn, "soak": long.soak}
PEERS = {"peers": peers.peers}
EVERY = {**SECTIONS, **PEERS, **LONG}

# Seconds for one section, and for all of them; what is run by hand may take longer.
SECTION_SECONDS = 240
REPORT_SECONDS = 19 * 60
BY_HAND_SECONDS = 3 * 3600


def _out_of_time(_signal, _frame):
    raise Failed("it took too long")


def _interrupted(_signal, _frame):
    sys.exit("interrupted; what was measured is stored, and --missing goes on from there")


def measure(name, scale, within):
    """One section, complete with its commands and its date; nothing if it could not be measured within so many
    seconds."""
    print(f"== {name}", flush=True)
    began, load_before = time.monotonic(), round(os.getloadavg()[0], 2)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(max(1, int(within)))
    try:
        section = EVERY[name](scale)
    # Whatever is wrong with one section, the others are to be had.
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        return None
    finally:
        signal.alarm(0)
        end_all()
        said = journal.close()
    section.name = name
    section.seconds = time.monotonic() - began
    section.taken = machine.taken(load_before, scale.form)
    section.commands, section.doubts = said
    return section


def measure_all(names, scale, keep):
    """All of them, and once more those that failed, as long as there is time; gives each to `keep` as it comes.
    By name, what was measured."""
    limit = SECTION_SECONDS if set(names) <= set(SECTIONS) else BY_HAND_SECONDS
    end = time.monotonic() + (REPORT_SECONDS if limit == SECTION_SECONDS else limit)
    sections, failed = {}, []
    for turn in (names, failed):
        for name in list(turn):
            left = end - time.monotonic()
            section = measure(name, scale, min(limit, left)) if left > 5 else None
            if section:
                sections[name] = section
                keep(sections)
            elif turn is not failed:
                failed.append(name)
    return sections


def stored(file):
    """What earlier runs left: sections by name."""
    with contextlib.suppress(FileNotFoundError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {section.name: section for section in model.from_json(kept["sections"])}
    return {}


def write(folder, sections, other_pages, scale):
    """Results, report, charts, and the figures in other pages. What is stored of something else than is measured now
    is in the results alone."""
    ordered = [sections[name] for name in EVERY if name in sections]
    kept = json.dumps({"sections": model.to_json(ordered)}, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(kept + "\n", encoding="utf-8")
    ordered = model.current(ordered, EVERY, scale)
    (folder / "REPORT.md").write_text(markdown.render(
        ordered, COMMAND, [name for name in EVERY if name not in sections],
        [name for name in sections if name not in {section.name for section in ordered}]), encoding="utf-8")
    charts = folder / "charts"
    charts.mkdir(exist_ok=True)
    for section in ordered:
        for chart in section.charts:
            (charts / f"{chart.name}.svg").write_text(svg.draw(chart), encoding="utf-8")
    known = pages.known_from(ordered)
    for page in other_pages:
        page.write_text(pages.fill(page.read_text(encoding="utf-8"), known), encoding="utf-8")


def arguments():
    words = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", metavar="NAME", help=f"sections: {' '.join(EVERY)}")
    words.add_argument("--quick", action="store_true", help="the short form; writes nothing unless --out is given")
    words.add_argument("--peers", action="store_true", help="measure the other servers, and store that")
    words.add_argument("--long", action="store_true", help="the long runs, and store them")
    words.add_argument("--missing", action="store_true", help="leave out what is stored of this commit")
    words.add_argument("--write", action="store_true", help="store the named sections as well")
    words.add_argument("--render", action="store_true", help="write the pages anew, measure nothing")
    words.add_argument("--out", type=Path, help="another folder than benches/ for what is written")
    asked = words.parse_args()
    unknown = [name for name in asked.names if name not in EVERY]
    if unknown:
        words.error(f"no section {unknown[0]}; there are {', '.join(EVERY)}")
    return asked


def chosen(asked):
    if asked.render:
        return []
    if asked.names:
        return asked.names
    by_hand = [*(PEERS if asked.peers else ()), *(LONG if asked.long else ())]
    return by_hand or list(SECTIONS)


def main():
    asked = arguments()
    signal.signal(signal.SIGTERM, _interrupted)
    names = chosen(asked)
    if names and not (BIN / "ringroom").exists():
        sys.exit("no release build: cargo build --release --workspace")
    load_now = os.getloadavg()[0]
    print(f"kernel {os.uname().release}, {os.cpu_count()} CPUs, load {load_now:.2f}", flush=True)
    folder = asked.out or BENCHES
    earlier = stored(folder / "results.json")
    scale = QUICK if asked.quick else FULL
    if asked.missing:
        commit = machine.commit()
        here = {section.name for section in model.current(earlier.values(), EVERY, scale)
                if section.taken.commit == commit}
        names = [name for name in names if name not in here]

    def keep(sections):
        if asked.out or asked.render or asked.write or not (asked.names or asked.quick):
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, {**earlier, **sections}, () if asked.out else PAGES, scale)

    sections = measure_all(names, scale, keep)
    if not names:
        keep({})
    if len(sections) < len(names):
        sys.exit(2)
    sys.exit(0 if all(claim.met for section in sections.values() for claim in section.claims) or asked.quick else 1)


if __name__ == "__main__":
    main()
