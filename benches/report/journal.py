"""What was run for a section, and what was doubtful about it."""

import re
from pathlib import Path

_commands = []
_doubts = []


def ran(words):
    """Notes a command, without what is different each time."""
    words = [Path(word).name if word.startswith("/") else word for word in map(str, words)]
    line = " ".join(words)
    line = re.sub(r"(127\.0\.0\.1:|--port )\d+", r"\1PORT", line)
    line = re.sub(r" --json \S+", "", line)
    line = re.sub(r"(--server-pid) \d+", r"\1 PID", line)
    if line not in _commands:
        _commands.append(line)


def doubted(text):
    print(f"   doubt: {text}", flush=True)
    if text not in _doubts:
        _doubts.append(text)


def close():
    """Both lists, which begin anew."""
    kept = list(_commands), list(_doubts)
    _commands.clear()
    _doubts.clear()
    return kept
