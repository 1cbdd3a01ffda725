#!/usr/bin/env python3
"""Counts the instructions of the pure pieces and compares them with those stored beside this file.

    benches/instructions.py          exit code 1 if one takes more than the tolerance allows, or is gone
    benches/instructions.py --save   stores what was counted: commit it with what changed it

It needs valgrind, and gungraun-runner of the version in Cargo.lock. Counts do not depend on how fast
or how busy a machine is. They do depend a little on the C library and on what instructions the
processor has, which is what the tolerance is for. Fewer instructions never fail, nor does a piece of
which nothing is stored yet; both are told.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "benches" / "instructions.json"
# A share of the stored count, and a number below which a change means nothing.
TOLERANCE = 0.05
SLACK = 50


def runner_version():
    """The version of gungraun that the lock file names: the runner must be the same."""
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    return re.search(r'name = "gungraun"\nversion = "([^"]+)"', lock)[1]


def summaries(text):
    """The benchmarks' summaries in the output, one JSON object a line."""
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def count(summary):
    """Instructions, as callgrind counted them in the function under test."""
    data = next(profile["data"] for profile in summary["profiles"] if profile["tool"] == "Callgrind")
    metrics = data["total"]["metrics"] or data["parts"][0]["metrics"]
    value = metrics["Ir"]["values"]["new"]
    return int(value["Int"] if isinstance(value, dict) else value)


def name(summary):
    return "/".join(filter(None, (summary["function_name"], summary.get("id"))))


def measure():
    command = ["cargo", "bench", "--quiet", "-p", "ringroom-benches", "--bench", "instructions", "--", "--output-format=json", "--nosummary"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    counts = {name(summary): count(summary) for summary in summaries(done.stdout)}
    if done.returncode or not counts:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return counts


def compare(counts, stored):
    """Prints all; whether none takes more than it may and none is gone."""
    passed = True
    for piece in sorted({*counts, *stored}):
        now, before = counts.get(piece), stored.get(piece)
        if now is None or before is None:
            passed &= now is not None
            verdict = "GONE" if now is None else "NEW "
            change = ""
        else:
            most = before * (1 + TOLERANCE) + SLACK
            passed &= now <= most
            verdict = "MORE" if now > most else "less" if now < before * (1 - TOLERANCE) - SLACK else "ok  "
            change = f"{now / before - 1:+.1%}"
        print(f"{verdict} {piece:48} {now or 0:>12,} {before or 0:>12,} {change:>8}")
    return passed


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--save", action="store_true")
    words.add_argument("--runner-version", action="store_true", help="print which gungraun-runner is needed")
    asked = words.parse_args()
    if asked.runner_version:
        print(runner_version())
        return
    counts = measure()
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    passed = compare(counts, stored)
    if asked.save:
        STORED.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif not passed:
        sys.exit("more instructions than before, or pieces that are gone; if that is meant: benches/instructions.py --save")


if __name__ == "__main__":
    main()
