"""Other servers beside ours, by the same generator, pinned the same way, in turn with ours."""

import contextlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import journal
from generator import alternate, closed_echo, fanout_cost
from machine import ROOT
from model import Spread, chapter
from process import BIN, HOST, UNLIMITED, Failed, free_port, ringroom, started

from figures.connections import held

PEERS = ROOT / "benches" / "peers"
INSTALLED = ROOT / "target" / "peers"
PINNED = ("taskset", "-c", "0")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


@dataclass
class Peer:
    """How one is started, and what it can be asked."""

    name: str
    command: tuple
    # What must be there, or it was not installed.
    needs: Path
    version: str
    environment: dict = field(default_factory=dict)
    dialect: str = "raw"
    # Paths of an echo and of a broadcast; none where the dialect has no such thing.
    echo: str | None = "/"
    broadcast: str | None = "/broadcast"
    held: str = "/"
    # Rooms of one in place of an echo.
    echoes_in_rooms: bool = False


def _node(script):
    return ("node", PEERS / "node" / script, "PORT")


def _rust(name):
    return (INSTALLED / "target" / "release" / f"peer-{name}", "PORT")


WS = PEERS / "node" / "node_modules" / "ws" / "package.json"
SOCKET_IO = PEERS / "node" / "node_modules" / "socket.io" / "package.json"
FASTAPI = INSTALLED / "python" / "bin" / "python"
# Its whole configuration, of one application that nobody has to sign for.
SOCKUDO = {"HOST": HOST, "PORT": "PORT", "METRICS_ENABLED": "false", "RATE_LIMITER_ENABLED": "false",
           "SOCKUDO_DEFAULT_APP_ID": "app", "SOCKUDO_DEFAULT_APP_KEY": "app-key", "SOCKUDO_DEFAULT_APP_SECRET": "unused",
           "SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS": "100000", "RUST_LOG": "error"}


def _floor(name, **asked):
    """The least program for it, so that all are seen in one table."""
    return Peer(f"floor: {name}", (BIN / f"floor-{name}", "--port", "PORT"), BIN / f"floor-{name}", "", **asked)


ALL = (
    _floor("epoll-echo", broadcast=None),
    _floor("uring-fanout", echo=None, broadcast="/"),
    Peer("tokio-tungstenite", _rust("tokio-tungstenite"), _rust("tokio-tungstenite")[0], "0.30.0"),
    Peer("fastwebsockets", _rust("fastwebsockets"), _rust("fastwebsockets")[0], "0.10.0"),
    Peer("node ws, bufferutil", _node("ws.mjs"), WS, "8.23.0"),
    Peer("node ws", _node("ws.mjs"), WS, "8.23.0", {"WS_NO_BUFFER_UTIL": "1"}),
    Peer("socket.io", _node("socket-io.mjs"), SOCKET_IO, "4.8.4", dialect="socket-io",
         echo="/socket.io/?EIO=4&transport=websocket&room={room}",
         broadcast="/socket.io/?EIO=4&transport=websocket&room={room}",
         held="/socket.io/?EIO=4&transport=websocket&room=0", echoes_in_rooms=True),
    Peer("FastAPI on uvicorn", (FASTAPI, PEERS / "python" / "peer.py", "PORT"), FASTAPI, "0.165.0 on 0.54.0"),
    Peer("nginx, nchan", ("nginx", "-c", "NCHAN"), NCHAN, "1.3.6 on 1.22.1", echo="/channel/{room}",
         broadcast="/channel/all", held="/channel/idle", echoes_in_rooms=True),
    Peer("sockudo", (INSTALLED / "bin" / "sockudo",), INSTALLED / "bin" / "sockudo", "5.2.0", SOCKUDO,
         echo=None, broadcast=None, held="/app/app-key?protocol=7&client=js&version=8.0.0"),
)


def _title(peer):
    return f"{peer.name} {peer.version}".strip()


def _write_nchan(file, port):
    """nginx's configuration, with what is different each time filled in."""
    text = (PEERS / "nginx" / "nchan.conf.in").read_text(encoding="utf-8")
    state = INSTALLED / "nginx"
    state.mkdir(parents=True, exist_ok=True)
    for name, value in {"PORT": port, "STATE": state, "MODULES": NCHAN.parent}.items():
        text = text.replace(f"@{name}@", str(value))
    file.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _running(peer):
    port = free_port()
    words = {"PORT": str(port), "NCHAN": INSTALLED / "nchan.conf"}
    if "NCHAN" in peer.command:
        _write_nchan(words["NCHAN"], port)
    environment = {name: words.get(value, value) for name, value in peer.environment.items()}
    command = [*PINNED, *(words.get(word, word) for word in peer.command)]
    with started(*command, port=port, environment={**os.environ, **environment}) as server:
        # What serves may be a child of what was started, as nginx's worker is.
        children = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True, check=False)
        if peer.name.startswith("nginx") and children.stdout.split():
            server.pid = int(children.stdout.split()[0])
        yield server


def _echo(peer, server, seconds):
    if not peer.echoes_in_rooms:
        return closed_echo(server, seconds, peer.echo, peer.dialect)[1]
    return fanout_cost(server, 1, seconds, rooms=200, members=1, dialect=peer.dialect, path=peer.echo, size=32)[0]


def _versus(peer, scale):
    """What can be asked of it, each in turn with ours: names to lists of ours and theirs."""
    figures, notes = {}, []
    seconds = max(1, scale.short // 2)
    rounds = max(1, scale.rounds // 2 + 1) if scale.rounds > 1 else 1
    with ringroom(settings=[UNLIMITED]) as ours, _running(peer) as theirs:

        def pair(name, mine, other):
            try:
                with journal.during(name):
                    figures[name] = tuple(alternate(rounds, {"ours": mine, "theirs": other}).values())
            except Failed as error:
                notes.append(f"{peer.name}, {name}: {str(error)[-200:]}")

        if peer.echo:
            pair("echo", lambda: closed_echo(ours, seconds, "/echo")[1], lambda: _echo(peer, theirs, seconds))
        if peer.broadcast:
            for in_flight in 1, 16:
                pair(f"broadcast, {in_flight} in flight",
                     lambda: fanout_cost(ours, in_flight, seconds, members=scale.members)[0],
                     lambda: fanout_cost(theirs, in_flight, seconds, dialect=peer.dialect, path=peer.broadcast,
                                         members=scale.members)[0])
    return figures, notes


def _memory(peer, scale):
    """Process memory of an idle connection, in bytes."""
    with _running(peer) as server:
        found = held(server, scale.held[0] // 2, max(1, scale.short // 2), path=peer.held, dialect="raw")
    if found.lost:
        raise Failed(f"{found.lost} connections were lost")
    return found.bytes


@chapter("peers", "Peers", lambda scale: "Other servers on one CPU, measured by the same generator on the other, in "
         "turn with ours: CPU for an echo of 32 B (200 connections, one message in flight on each), CPU for a "
         f"delivery to {scale.members:,} (64 B of payload), and process memory of each of {scale.held[0] // 2:,} idle "
         "connections. Ours sends its envelope (room, offset, sender) with each delivery, the others the "
         "bare message. Below 1, ours is the cheaper.")
def peers(section, scale):
    count = scale.held[0] // 2
    rows, worse = [], []
    with journal.during("ours, memory"), ringroom(settings=[UNLIMITED]) as server:
        ours_bytes = held(server, count, max(1, scale.short // 2)).bytes
    for peer in ALL:
        if not peer.needs.exists():
            section.note(f"{_title(peer)}: not installed here (benches/peers/README.md says why)")
            continue
        try:
            with journal.during(_title(peer)):
                figures, notes = _versus(peer, scale)
                with journal.during("memory"):
                    theirs_bytes = _memory(peer, scale)
        except Failed as error:
            section.note(f"{_title(peer)}: could not be measured: {str(error)[-200:]}")
            continue
        for note in notes:
            section.note(note)
        for name, (ours, theirs) in figures.items():
            ratio = Spread.ratio(ours, theirs)
            rows.append((_title(peer), name, f"{Spread.of(ours).median / 1e3:.2f} µs",
                         f"{Spread.of(theirs).median / 1e3:.2f} µs", f"{ratio.median:.2f}",
                         f"{ratio.low:.2f} to {ratio.high:.2f}"))
            if ratio.median > 1:
                worse.append(f"{name} against {peer.name}, {ratio.median:.2f} times")
        rows.append((_title(peer), "memory, idle", f"{ours_bytes / 1024:.2f} KB",
                     f"{theirs_bytes / 1024:.2f} KB", f"{ours_bytes / theirs_bytes:.2f}", ""))
        if ours_bytes > theirs_bytes:
            worse.append(f"memory against {peer.name}, {ours_bytes / theirs_bytes:.2f} times")
    section.table(("peer", "what", "ours", "theirs", "times theirs", "spread"), rows)
    section.note("Ours is worse in: " + ("; ".join(worse) if worse else "none of these"))
