"""What was run for a section, and what was doubtful about it."""

import contextlib
import contextvars
import re
from pathlib import Path

_commands = []
_doubts = []
# The runs that are under way where somebody doubts: each thread has its own.
_runs = contextvars.ContextVar("runs", default=())


def ran(words):
    """Notes a command, without what is different each time."""
    words = [Path(word).name if word.startswith("/") else word for word in map(str, words)]
    line = " ".join(words)
    line = re.sub(r"(127\.0\.0\.1:|--port |-p )\d+", r"\1PORT", line)
    line = re.sub(r"Authorization: Bearer \S+", "'Authorization: Bearer TOKEN'", line)
    line = re.sub(r" --json \S+", "", line)
    line = re.sub(r"(--server-pid) \d+", r"\1 PID", line)
    if line not in _commands:
        _commands.append(line)


def wrote(file):
    """Notes what a configuration says that a command names, each time it says something else."""
    text = re.sub(r'"/[^"]*/([^"/]+)"', r'"\1"', file.read_text(encoding="utf-8"))
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    lines = "\n".join([f"# {file.name}:", *(f"#   {line}" for line in text.splitlines())])
    if lines not in _commands:
        _commands.append(lines)


@contextlib.contextmanager
def during(run):
    """What is doubted until the block ends is so of that run."""
    before = _runs.set((*_runs.get(), run))
    try:
        yield
    finally:
        _runs.reset(before)


def doubted(text):
    """Notes why a figure must not be believed, and which run it is of."""
    runs = ", ".join(_runs.get())
    text = f"{runs}: {text}" if runs else text
    print(f"   doubt: {text}", flush=True)
    if text not in _doubts:
        _doubts.append(text)


def close():
    """Both lists, which begin anew."""
    kept = list(_commands), list(_doubts)
    _commands.clear()
    _doubts.clear()
    return kept
