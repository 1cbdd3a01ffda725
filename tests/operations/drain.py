#!/usr/bin/env python3
"""A drain under traffic: clients in rooms are sent away over the window, each with 1012, and the process
ends with 0.

    tests/operations/drain.py [--short|--long]

In each room somebody publishes until it is sent away itself. Nothing that was acknowledged may be lost:
everyone hears a room without a gap until it is told to go, and whatever was acknowledged before that;
what comes later than that it can ask for elsewhere, since it knows where it stopped.

Printed: the time from the signal to a closed door (at most a tenth of a second, the best of three),
to the first and the last close, as shares of the window; how evenly they went (clients sent away in the
first half of the time), and how the hints spread when to come back (`retry_after_ms`).
"""

import argparse
import asyncio
import json
import resource
import socket
import sys
import time

from server import CLOSE, TEXT, Client, Server

ROOM_MEMBERS = 50
DOOR_S, DOOR_TRIES = 0.1, 3
# How much of the window the hints must cover: as many as there are cover nearly all of it.
HINTS_SPREAD = 0.9
# What is read here is read later than it came: as late as this loop was at its worst, twice, and some.
SLACK_S = 0.25


class Form:
    """How many clients, over what window, and how often each room's publisher says something."""

    def __init__(self, count, window_ms, pause_s):
        self.count, self.window_ms, self.pause_s = count, window_ms, pause_s


FORMS = {"short": Form(300, 2_000, 0.1), "long": Form(10_000, 10_000, 0.5)}


class Lag:
    """By how much this process was late at its worst."""

    def __init__(self):
        self.worst = 0.0

    async def watch(self):
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.worst = max(self.worst, time.monotonic() - began - 0.01)


class Room:
    """What was acknowledged in it, and when."""

    def __init__(self, name):
        self.name, self.acked = name, {}


class Member:
    """Notes what it hears, and how it is sent away."""

    def __init__(self, room):
        self.room, self.heard = room, []
        self.closed_at = self.code = self.hint_ms = self.first = None

    async def enter(self, port):
        self.client = await Client.connect(port, path="/ws")
        await self.say({"type": "join", "id": 1, "room": self.room.name})
        while (answer := json.loads((await self.client.receive())[1])).get("id") != 1:
            pass
        self.first = answer["offset"]

    async def say(self, message):
        await self.client.send(TEXT, json.dumps(message).encode())

    async def stay(self):
        """Until it is sent away, or lost: then it has no code."""
        try:
            while True:
                first, payload = await self.client.receive()
                if first == CLOSE:
                    self.closed_at, self.code = time.monotonic(), int.from_bytes(payload[:2], "big")
                    await self.client.send(CLOSE, payload[:2])
                    break
                self.note(json.loads(payload))
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.client.end()

    def note(self, message):
        if message["type"] == "message":
            self.heard.append(message["offset"])
        elif message["type"] == "ok":
            self.room.acked[message["offset"]] = time.monotonic()
        elif message["type"] == "disconnect":
            self.hint_ms = message.get("retry_after_ms")

    async def publish(self, pause_s):
        number = 1
        while self.code is None and not self.client.writer.is_closing():
            number += 1
            try:
                await self.say({"type": "publish", "id": number, "room": self.room.name, "data": number})
            except OSError:
                return
            await asyncio.sleep(pause_s)

    def lost(self, slack_s):
        """Offsets that it should have heard."""
        owed = {offset for offset, at in self.room.acked.items()
                if offset > self.first and (self.closed_at is None or at + slack_s < self.closed_at)}
        through = max(self.heard, default=self.first)
        return (owed | set(range(self.first + 1, through + 1))) - set(self.heard)


def door_closes(port, began):
    """Seconds until nobody gets in any more; in a thread of its own."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            return time.monotonic() - began
        time.sleep(0.002)


async def measure(form):
    """Whether all is as it should be, and how soon the door was closed."""
    window, lag = form.window_ms / 1_000, Lag()
    watch = asyncio.ensure_future(lag.watch())
    with Server(f"drain.window_ms={form.window_ms}", "admission.connections_per_ip=0") as server:
        rooms = [Room(f"room:{number}") for number in range(form.count // ROOM_MEMBERS)]
        # They go in about the order they came: members all along, and those who publish at last.
        members = [Member(room) for _ in range(ROOM_MEMBERS) for room in rooms]
        for member in members:
            await member.enter(server.port)
        staying = [asyncio.ensure_future(member.stay()) for member in members]
        talking = [asyncio.ensure_future(member.publish(form.pause_s)) for member in members[-len(rooms):]]
        await asyncio.sleep(1)
        began = time.monotonic()
        server.drain()
        door = await asyncio.to_thread(door_closes, server.port, began)
        await asyncio.gather(*staying, *talking)
        code = await asyncio.to_thread(server.process.wait)
        ended = time.monotonic() - began
    watch.cancel()
    return report(form, rooms, members, began, ended, code, lag, door), door


def report(form, rooms, members, began, ended, code, lag, door):
    window, count = form.window_ms / 1_000, len(members)
    closes = [member.closed_at - began for member in members if member.closed_at] or [float("inf")]
    hints = sorted(member.hint_ms / form.window_ms for member in members if member.hint_ms is not None)
    rude = sum(member.code != 1012 for member in members)
    acked = sum(len(room.acked) for room in rooms)
    late = sum(at > began for room in rooms for at in room.acked.values())
    slack_s = SLACK_S + 2 * lag.worst
    lost = sum(len(member.lost(slack_s)) for member in members)
    spread = hints[-1] - hints[0] if hints else 0
    first_half = sum(moment < window / 2 for moment in closes) / count
    print(
        f"{count} clients in {len(rooms)} rooms over {window:.1f} s: door closed after "
        f"{door * 1000:.0f} ms, first close at {min(closes) / window:.2f} and last at "
        f"{max(closes) / window:.2f} of the window, {first_half:.0%} in its first half; ended at "
        f"{ended / window:.2f} with {code}; {rude} without 1012; {acked} publications acknowledged, {late} of "
        f"them in the drain, {lost} deliveries of those lost; {len(hints)} hints when to come back, from "
        f"{min(hints, default=0):.2f} over {hints[len(hints) // 2] if hints else 0:.2f} to "
        f"{max(hints, default=0):.2f} of the window", flush=True)
    return (rude == 0 and code == 0 and ended <= window + 5 and late > 0 and lost == 0
            and len(hints) == count and spread >= HINTS_SPREAD)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="10,000 clients over 10 s")
    parser.add_argument("--short", action="store_true", help="300 clients over 2 s (the default)")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    form = FORMS["long" if parser.parse_args().long else "short"]
    for _ in range(DOOR_TRIES):
        held, door = asyncio.run(measure(form))
        if not held or door <= DOOR_S:
            break
    sys.exit(0 if held and door <= DOOR_S else 1)


main()
