"""Listens to channels of a Redis, as the ear of a bridge does, and throws away what it hears: PORT CHANNEL…"""

import socket
import sys


def _command(*words):
    """A command as it is sent."""
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()


def main(port, *channels):
    heard = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", int(port))) as redis:
        redis.sendall(_command("HELLO", "3") + b"".join(_command("SSUBSCRIBE", channel) for channel in channels))
        while redis.recv_into(heard):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
