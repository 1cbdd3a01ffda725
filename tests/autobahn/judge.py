"""Judges the index of an Autobahn report: strictly, and every case that was asked for.

judge.py INDEX AGENT CASES-EXPECTED [PATTERN...]
"""

import collections
import fnmatch
import json
import sys

# What the suite asks without an opinion of its own.
MAY_BE_INFORMATIONAL = ("7.1.6", "7.13.*")


def is_good(case, result):
    verdicts = {result["behavior"], result["behaviorClose"]}
    if verdicts <= {"OK"}:
        return True
    informational = any(fnmatch.fnmatch(case, pattern) for pattern in MAY_BE_INFORMATIONAL)
    return informational and verdicts <= {"OK", "INFORMATIONAL"}


def main():
    index, agent, expected, patterns = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    with open(index, encoding="utf-8") as file:
        results = json.load(file).get(agent, {})
    counts = collections.Counter(result["behavior"] for result in results.values())
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"autobahn {agent}: {len(results)} cases: {summary}")
    problems = [
        f"{case}: {result['behavior']}, close {result['behaviorClose']}"
        for case, result in results.items()
        if not is_good(case, result)
    ]
    if expected and len(results) != expected:
        problems.append(f"{len(results)} cases instead of {expected}")
    problems += [
        f"{pattern}: no such case was run"
        for pattern in patterns
        if not any(fnmatch.fnmatch(case, pattern) for case in results)
    ]
    for problem in problems:
        print(f"autobahn {agent}: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
