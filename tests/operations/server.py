"""The real server, and clients made of asyncio streams: for the scripts beside this one."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SERVER_BINARY") or str(ROOT / "target/debug/ringroom")
TEXT, BINARY_FRAME, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
HEAD = (
    "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def skip(reason):
    """Says what cannot be shown on this machine, and has it counted where all of the tests run."""
    print(f"!! SKIPPED: {reason}", flush=True)
    if skips := os.environ.get("SKIPS_FILE"):
        with Path(skips).open("a") as lines:
            lines.write(f"operations: {reason}\n")


class Server:
    """A server that runs until the end of a `with`."""

    def __init__(self, *settings, address="127.0.0.1", port=0, arguments=(), config=None, user=None):
        where = ["--config", str(config)] if config else ["--listen", f"{address}:{port}"]
        command = [BINARY, "serve", *where, "--control", "127.0.0.1:0"]
        for setting in ("dev.echo=true", *settings):
            command += ["--set", setting]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            user=user, group=user, extra_groups=None if user is None else [],
        )
        self.port = self.tls_port = self.control = None
        for line in self.process.stdout:
            if found := re.match(r"ringroom serves on http://[^:]*:(\d+)", line):
                self.port = int(found[1])
            if found := re.match(r"ringroom serves on https://[^:]*:(\d+)", line):
                self.tls_port = int(found[1])
            if found := re.match(r"Control plane: (http://[^/]*)/", line):
                self.control = found[1]
                break
        if not self.control:
            raise RuntimeError("the server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def drain(self):
        self.process.send_signal(signal.SIGTERM)

    def fault(self, fault):
        """What only a server with `dev.faults` does."""
        request = urllib.request.Request(f"{self.control}/faults/{fault}", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def is_ready(self):
        with contextlib.suppress(urllib.error.HTTPError), \
                urllib.request.urlopen(f"{self.control}/ready", timeout=10):
            return True
        return False

    def metric(self, name, label=""):
        with urllib.request.urlopen(f"{self.control}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        series = [line for line in lines if re.match(name + r"[{ ]", line) and label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in series)

    def drivers(self):
        """How its cores talk to the kernel. It says so whether all is well or not."""
        try:
            answer = urllib.request.urlopen(f"{self.control}/health", timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return set(re.findall(r'"driver":"([^"]+)"', answer.read().decode()))

    def resident_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def frame(first, payload):
    """A frame whose mask is zero, which is as good as any other."""
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 65_536:
        head = bytes([first, 0xFE]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


class Client:
    """A WebSocket on /echo."""

    @classmethod
    async def connect(cls, port, path="/echo", more="", address="127.0.0.1", source=None):
        client = cls()
        local = (source, 0) if source else None
        client.reader, client.writer = await asyncio.open_connection(address, port, local_addr=local)
        client.writer.write(HEAD.format(path=path, more=more).encode())
        head = await client.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionRefusedError(head.split(b"\r\n")[0].decode())
        return client

    async def send(self, first, payload):
        self.writer.write(frame(first, payload))
        await self.writer.drain()

    async def receive(self):
        """The next frame that is no ping; pings are answered."""
        while True:
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            payload = await self.reader.readexactly(length)
            if first != PING:
                return first, payload
            await self.send(PONG, payload)

    def end(self):
        with contextlib.suppress(OSError):
            self.writer.transport.abort()
