"""What the figures were taken on: machine, kernel, settings, commit."""

import contextlib
import datetime
import hashlib
import os
import re
import subprocess
from pathlib import Path

from model import Taken

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = (
    "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "kernel.io_uring_disabled", "kernel.sched_rt_runtime_us",
    "fs.nr_open",
)
# What is measured. Pages are not: the report writes some itself.
MEASURED = ("src", "loadgen", "Cargo.toml", "Cargo.lock", "benches/floor", ":(exclude)*.md")


def _read(path, otherwise=""):
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return otherwise


def _run(*command, root=ROOT):
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=root)
        return done.stdout.strip()
    return ""


def commit(root=ROOT):
    """The commit of the source, and which changes there were beside it: the same name is the same source."""
    name = _run("git", "rev-parse", "--short=12", "HEAD", root=root) or "unknown"
    changes = _run("git", "diff", "--binary", "HEAD", "--", *MEASURED, root=root)
    for path in _run("git", "ls-files", "--others", "--exclude-standard", "--", *MEASURED, root=root).splitlines():
        changes += f"\n{path}\n{_read(root / path)}"
    return f"{name} with local changes {hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else name


def taken(load, form):
    """Now, here and of this source; in which form of the report, if that is not the whole."""
    described = [*describe(), *([("form", form)] if form else [])]
    return Taken(datetime.date.today().isoformat(), commit(), os.uname().release, load, described)


def describe():
    """Pairs of a word and what it is on this machine."""
    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    virtual = "hypervisor" in cpuinfo
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none to set")
    pages = re.search(r"\[(\w+)\]", _read("/sys/kernel/mm/transparent_hugepage/enabled"))
    pairs = [
        ("processor", f"{model[1] if model else os.uname().machine}{', virtual' if virtual else ''}"),
        ("CPUs", str(os.cpu_count())),
        ("memory", f"{int(memory[1]) / (1 << 20):.1f} GiB" if memory else "unknown"),
        ("kernel", os.uname().release),
        ("governor", governor),
        ("transparent huge pages", pages[1] if pages else "unknown"),
        ("descriptors of a process", _run("sh", "-c", "ulimit -Hn")),
        ("compiler", _run("rustc", "--version")),
    ]
    for name in SETTINGS:
        value = _read("/proc/sys/" + name.replace(".", "/"))
        if value:
            pairs.append((name, " ".join(value.split())))
    return pairs
