"""Shows bad tokens at a pace: one connection each, refused with 401. Prints what came of them as JSON.

    python3 benches/report/impostors.py --port PORT --rate 5000 --seconds 10
"""

import argparse
import json
import select
import socket
import time

PROGRAM = __file__
HOST = "127.0.0.1"
# So many source addresses: one has too few ports for a minute of this.
SOURCES = [f"127.0.1.{number}" for number in range(1, 9)]
UNDER_WAY = 256
# {"alg":"HS256","typ":"JWT"} and {"sub":"eve","tenant":"quiet","exp":4000000000}, signed by nobody.
SAID = ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJzdWIiOiJldmUiLCJ0ZW5hbnQiOiJxdWlldCIsImV4cCI6NDAwMDAwMDAwMH0.")
HEAD = ("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {said}{number:042d}A\r\n\r\n")


def _come(port, number):
    """One more of them, on its way."""
    stream = socket.socket()
    stream.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    stream.bind((SOURCES[number % len(SOURCES)], 0))
    stream.connect((HOST, port))
    stream.send(HEAD.format(said=SAID, number=number).encode())
    stream.setblocking(False)
    return stream


def flood(port, rate, seconds):
    """So many a second, and what they were told."""
    came = refused = other = 0
    waiting, poll = {}, select.epoll()
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds or waiting:
        while now < seconds and came < now * rate and len(waiting) < UNDER_WAY:
            stream = _come(port, came)
            waiting[stream.fileno()] = stream
            poll.register(stream.fileno(), select.EPOLLIN)
            came += 1
        if now > seconds + 5:
            break
        for number, _ in poll.poll(0.001):
            stream = waiting.pop(number)
            poll.unregister(number)
            try:
                told = stream.recv(64)
            except OSError:
                told = b""
            stream.close()
            is_refused = told.startswith(b"HTTP/1.1 401")
            refused, other = refused + is_refused, other + (not is_refused)
    return {"seconds": seconds, "came": came, "refused": refused, "other": other + len(waiting)}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--rate", type=int, default=5_000)
    options.add_argument("--seconds", type=int, default=10)
    given = options.parse_args()
    print(json.dumps(flood(given.port, given.rate, given.seconds)))
