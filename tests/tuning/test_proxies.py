"""Debian's nginx and HAProxy, with the examples' own configuration, in front of the server.

The server allows few connections of each address: so it shows whose address it has seen.
"""

import contextlib
import re
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from server import BINARY, DEPLOY, HOST, Refused, WebSocket, defaults, free_ports, get, self_signed, started

ONE, OTHER = "127.0.0.2", "127.0.0.3"

# Connections of an address. More than one, for until it is told of the client a connection counts
# for the proxy, as its health checks do.
EACH = 3


def changed(name, *changes):
    """An example with ports and paths for this test; each must be in it."""
    text = (DEPLOY / name).read_text()
    for old, new in changes:
        assert old in text, (name, old)
        text = text.replace(old, new)
    return text


class Proxies(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.directory.chmod(0o755)  # nginx's workers are another user
        # With a PROXY header, and without.
        self.port, self.plain, self.control, self.front = free_ports(4)
        self.server = self.start_server(self.port, self.plain, self.control)

    def start_server(self, port, plain, control, name="ringroom.toml"):
        config = self.directory / name
        config.write_text(changed(
            "ringroom.toml", ("127.0.0.1:8000", f"{HOST}:{port}"),
            ("127.0.0.1:8001", f"{HOST}:{control}"), ("127.0.0.1:8002", f"{HOST}:{plain}"),
            ("/var/lib/ringroom", str(self.directory)), ("/var/log/ringroom", str(self.directory))))
        command = [BINARY, "--config", config, "--set", "dev.echo=true",
                   "--set", f"admission.connections_per_ip={EACH}"]
        return self.stack.enter_context(started(*command, port=port, control=control))

    def start_nginx(self, text):
        path = self.directory / "nginx.conf"
        logs = {name: self.directory / name for name in ("error.log", "access.log", "nginx.pid")}
        first = f"daemon off; pid {logs['nginx.pid']}; error_log {logs['error.log']};\n"
        modules = "".join(re.findall(r"^load_module .*\n", text, re.M))
        text = modules.replace("modules/", "/usr/lib/nginx/modules/") + first + text.replace(modules, "")
        # Where nginx would write as root, and how many descriptors this machine allows.
        text = text.replace("http {", f"http {{ access_log off; client_body_temp_path {self.directory}/body;"
                            f" proxy_temp_path {self.directory}/proxy; fastcgi_temp_path {self.directory}/fastcgi;"
                            f" uwsgi_temp_path {self.directory}/uwsgi; scgi_temp_path {self.directory}/scgi;")
        text = re.sub(r"worker_rlimit_nofile \d+", "worker_rlimit_nofile 4096", text)
        text = re.sub(r"worker_connections \d+", "worker_connections 1024", text)
        path.write_text(text)
        command = ["nginx", "-p", self.directory, "-c", path, "-e", logs["error.log"]]
        self.stack.enter_context(started(*command, port=self.front))

    def sees_each_client(self, tls=None):
        """So many of an address get in, one more does not, and another address still does."""
        connect = lambda source, headers=(): WebSocket(self.front, source, tls, headers)
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(connect(ONE)) for _ in range(EACH)]
            for client in clients:
                self.assertEqual(client.echo("through the proxy"), "through the proxy")
            with self.assertRaises(Refused):
                connect(ONE)
            # Nor does it help to claim another address.
            with self.assertRaises(Refused):
                connect(ONE, ["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"])
            other = held.enter_context(connect(OTHER))
            self.assertEqual(other.echo("as well"), "as well")
            self.assertEqual(clients[0].echo("still"), "still")
        end = time.monotonic() + 5
        while True:  # its place is free once the server has seen it go
            try:
                with connect(ONE) as again:
                    self.assertEqual(again.echo("again"), "again")
                return
            except Refused:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def start_haproxy(self, more=""):
        _, _, both, tls = self_signed(self.directory)
        text = changed("haproxy.cfg", ("127.0.0.1:8000", f"{HOST}:{self.port}"),
                       ("bind :8443", f"bind {HOST}:{self.front}"),
                       ("/etc/haproxy/ringroom.pem", str(both)), ("maxconn 200000", "maxconn 1000"))
        path = self.directory / "haproxy.cfg"
        path.write_text(text + more)
        check = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
        self.assertEqual((check.returncode, check.stderr), (0, ""), check.stdout)
        self.stack.enter_context(started("haproxy", "-db", "-f", path, port=self.front))
        return tls

    def test_haproxy_with_the_proxy_protocol(self):
        tls = self.start_haproxy()
        self.sees_each_client(tls)
        # Its health checks came too, with a header of their own kind, and were answered.
        time.sleep(1.5)
        metrics = get(f"http://{HOST}:{self.control}/metrics")
        refused = re.findall(r'ringroom_handshake_failures_total\{core="\d+",reason="proxy"} (\d+)', metrics)
        self.assertTrue(refused)
        self.assertEqual(set(refused), {"0"})

    def test_a_drain_sends_new_clients_to_the_other_server(self):
        port, plain, control = free_ports(3)
        self.start_server(port, plain, control, "other.toml")
        tls = self.start_haproxy(f"  server two {HOST}:{port}\n")
        clients = [WebSocket(self.front, f"127.0.1.{last}", tls) for last in range(1, 5)]
        self.addCleanup(lambda: [client.close() for client in clients])
        opened = lambda control: sum(int(count) for count in re.findall(
            r"ringroom_connections_open\{.*} (\d+)", get(f"http://{HOST}:{control}/metrics")))
        self.assertEqual((opened(self.control), opened(control)), (2, 2), "the least loaded first")
        self.server.terminate()
        self.door_is_closed()  # who slipped in before is served, and told to come back
        for last in range(1, 9):
            with WebSocket(self.front, f"127.0.2.{last}", tls) as client:
                self.assertEqual(client.echo("served"), "served")
            time.sleep(0.25)  # before, while and after the health check notices

    def door_is_closed(self):
        for _ in range(100):
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.01)
        self.fail("a draining server goes on accepting")

    def test_nginx_as_an_http_proxy(self):
        key, certificate, _, tls = self_signed(self.directory)
        self.start_nginx(changed(
            "nginx-http.conf", ("127.0.0.1:8002", f"{HOST}:{self.plain}"),
            ("listen 8443", f"listen {HOST}:{self.front}"),
            ("/etc/nginx/ringroom.crt", str(certificate)), ("/etc/nginx/ringroom.key", str(key))))
        self.sees_each_client(tls)

    def test_nginx_that_keeps_connections_for_plain_requests(self):
        """It may send an upgrade on one of them, so there must be none that is kept."""
        key, certificate, _, tls = self_signed(self.directory)
        self.start_nginx(changed(
            "nginx-http.conf", ("server 127.0.0.1:8002;", f"server {HOST}:{self.plain}; keepalive 8;"),
            ('""      close;', '""      "";'), ("listen 8443", f"listen {HOST}:{self.front}"),
            ("/etc/nginx/ringroom.crt", str(certificate)), ("/etc/nginx/ringroom.key", str(key))))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls))
        for _ in range(20):
            with opener.open(f"https://{HOST}:{self.front}/live", timeout=15) as response:
                self.assertEqual(response.status, 200)
            with WebSocket(self.front, ONE, tls) as client:
                self.assertEqual(client.echo("not a 426"), "not a 426")

    def test_nginx_as_a_tcp_proxy_with_the_proxy_protocol(self):
        if not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
            self.skipTest("wants libnginx-mod-stream")
        self.start_nginx(changed(
            "nginx-stream.conf", ("127.0.0.1:8000", f"{HOST}:{self.port}"),
            ("listen 8080", f"listen {HOST}:{self.front}")))
        self.sees_each_client()

    def test_without_the_header_nobody_gets_in(self):
        with self.assertRaises(Refused):
            WebSocket(self.port)


class Timeouts(unittest.TestCase):
    def test_proxies_outlast_the_servers_patience(self):
        settings = defaults()
        patience_s = int(settings["heartbeat.interval_ms"]) * int(settings["heartbeat.max_missed"]) / 1000
        examples = {
            "haproxy.cfg": r"timeout tunnel (\d+)s",
            "nginx-http.conf": r"proxy_(?:read|send)_timeout (\d+)s",
            "nginx-stream.conf": r"proxy_timeout (\d+)s",
        }
        for name, pattern in examples.items():
            found = re.findall(pattern, (DEPLOY / name).read_text())
            self.assertTrue(found, name)
            for seconds in found:
                self.assertGreater(int(seconds), patience_s, name)

    def test_the_head_has_the_same_deadline(self):
        deadline_s = int(defaults()["handshake.deadline_ms"]) // 1000
        self.assertIn(f"timeout http-request {deadline_s}s", (DEPLOY / "haproxy.cfg").read_text())


if __name__ == "__main__":
    unittest.main()
