"""Starts the server, and speaks to it as a client that was written for these tests alone."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "tuning/deploy"
BINARY = os.environ["SERVER_BINARY"]
HOST = "127.0.0.1"
PATIENCE_S = 15


def free_ports(count):
    """Ports nobody listens on; all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in sockets]


def wait_until_it_listens(port, process):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"does not listen on {port}")


@contextlib.contextmanager
def started(*command, port, control=None):
    """A process that listens on a port, until the block ends; of a server that is asked something there, on that of
    its control plane as well, which is a thread of its own and may be later."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for awaited in (port, control):
            if awaited is not None:
                wait_until_it_listens(awaited, process)
        yield process
    except AssertionError as error:
        process.kill()
        raise AssertionError(f"{error}\n{command}\n{process.communicate()[0]}") from error
    finally:
        for _ in range(2):  # the second ends a server's drain
            if process.poll() is None:
                process.terminate()
                time.sleep(0.1)
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def get(url, token=None, body=None):
    """What the server answers, to a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if token is None else {
        "Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return response.read().decode()


def get_in_time(url):
    """What the server answers once it is ready: it listens, on one core and then on the others, before it is."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return get(url)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > end:
                raise
        time.sleep(0.05)


def self_signed(directory):
    """A key, its certificate, both in one file, and a context of clients who do not ask who signed it."""
    key, certificate, both = (directory / name for name in ("key.pem", "certificate.pem", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return key, certificate, both, context


def defaults():
    """Every setting of `ringroom print-config` with a value, as text, by section.key."""
    text = subprocess.run([BINARY, "print-config"], capture_output=True, text=True, check=True).stdout
    values, section = {}, ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"\[+([\w.]+)\]+", line):
            section = heading[1]
        elif setting := re.fullmatch(r"(\w+) = (.*)", line):
            values[f"{section}.{setting[1]}"] = setting[2].strip('"')
    return values


def connected(where, source):
    """To a port, from an address of its own; or to the path of a UNIX socket."""
    if isinstance(where, int):
        return socket.create_connection((HOST, where), PATIENCE_S, source_address=(source, 0))
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE_S)
    client.connect(str(where))
    return client


class WebSocket:
    """A client of the echo, from an address of its own."""

    def __init__(self, where, source=HOST, tls=None, headers=()):
        self.socket = connected(where, source)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        request = [
            "GET /echo HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers,
        ]
        try:
            self.socket.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
            self.unread = b""
            while b"\r\n\r\n" not in self.unread:
                self.unread += self.receive()
        except OSError as error:
            self.close()
            raise Refused(str(error)) from error
        head, self.unread = self.unread.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        if self.status != 101:
            self.close()
            raise Refused(str(self.status))
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("ended")
        return data

    def echo(self, text):
        payload = text.encode()
        assert len(payload) < 126
        self.socket.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        while len(self.unread) < 2 + len(payload):
            self.unread += self.receive()
        frame, self.unread = self.unread[:2 + len(payload)], self.unread[2 + len(payload):]
        assert frame[:2] == bytes([0x81, len(payload)]), frame
        return frame[2:].decode()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Refused(Exception):
    """The server or the proxy does not take the connection."""
