"""How much is measured: the whole report, or the short form that only shows that all of it works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    rounds: int
    # Of one measurement, in seconds.
    short: int
    long: int
    storm: int
    held: tuple[int, ...]
    # Seconds from one heartbeat of a held connection to the next: in the whole report the server's default.
    heartbeat_seconds: int
    # Seconds of more than can be done.
    overload: int
    joined: int
    members: int
    dribblers: int
    rooms: int
    # The by-hand part, in seconds.
    soak: int
    # What is to be known of its figures.
    form: str = ""


FULL = Scale(rounds=5, short=3, long=10, storm=10_000, held=(10_000, 25_000, 50_000), heartbeat_seconds=25,
             overload=60, joined=30_000, members=1_000, dribblers=2_000, rooms=500_000, soak=600)
QUICK = Scale(rounds=1, short=1, long=3, storm=500, held=(500, 1_000), heartbeat_seconds=2, overload=3,
              joined=500, members=100, dribblers=50, rooms=2_000, soak=10,
              form="short: it shows that all works, and its figures mean nothing")
