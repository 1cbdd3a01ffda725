"""What stands under deploy/ and can be checked without a cluster, an image or a running systemd."""

import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import unittest
from pathlib import Path

import yaml

from server import (BINARY, DEPLOY, HOST, PATIENCE_S, ROOT, WebSocket, defaults, free_ports, get, get_in_time,
                    self_signed, started)


def check_config(text):
    """What the server says of a configuration; its files of secrets are made up."""
    with tempfile.TemporaryDirectory() as directory:
        secret = Path(directory) / "token"
        secret.write_text("a-token-of-more-than-sixteen-bytes")
        text = re.sub(r'^(token|password)_file = ".*"', rf'\1_file = "{secret}"', text, flags=re.M)
        path = Path(directory) / "ringroom.toml"
        path.write_text(text)
        done = subprocess.run([BINARY, "check-config", "--config", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return tomllib.loads(text)


def paths(config):
    """Every absolute path in a configuration."""
    values = config.values() if isinstance(config, dict) else config
    for value in values:
        if isinstance(value, (dict, list)):
            yield from paths(value)
        elif isinstance(value, str) and value.startswith("/"):
            yield value


def in_source(path, declaration):
    """A number of milliseconds from the source, which is what the server is built of."""
    return int(re.search(declaration + r"\(?([\d_]+)", (ROOT / path).read_text())[1])


# How much longer than its window a drain may take, with its farewell to Redis.
GRACE_MS = (in_source("src/net/life.rs", "const GOODBYE_MS: u64 = ")
            + in_source("src/server/mod.rs", r"const DRAIN_GRACE: Duration = Duration::from_millis\(net::GOODBYE_MS \+ ")
            + in_source("src/bridge/uplink.rs", "const FAREWELL_MS: u64 = "))


class Systemd(unittest.TestCase):
    TEXT = (DEPLOY / "ringroom.service").read_text()

    def setting(self, name):
        return re.findall(rf"^{name}=(.*)$", self.TEXT, re.M)

    def verify(self, *command):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "ringroom.service"
            path.write_text(self.TEXT.replace("/usr/local/bin/ringroom", os.path.abspath(BINARY)))
            return subprocess.run(["systemd-analyze", *command, path], capture_output=True, text=True)

    def test_systemd_has_nothing_to_complain_about(self):
        done = self.verify("verify", "--man=no")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_little_is_exposed(self):
        done = self.verify("security", "--offline=true", "--threshold=20")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_it_waits_for_the_drain(self):
        window_ms = tomllib.loads((DEPLOY / "ringroom.toml").read_text())["drain"]["window_ms"]
        self.assertEqual(window_ms, int(defaults()["drain.window_ms"]))
        self.assertGreater(int(self.setting("TimeoutStopSec")[0]) * 1000, window_ms + GRACE_MS)

    def test_descriptors_are_as_the_50k_profile_has_them(self):
        settings = (ROOT / "tuning/settings.sh").read_text()
        profile = re.search(r"^setting limits\.nofile .*\nprofile 50k (\d+)$", settings, re.M)[1]
        self.assertEqual(self.setting("LimitNOFILE"), [profile])

    def test_the_filter_lets_through_what_the_server_calls(self):
        allowed = set()
        for line in self.setting("SystemCallFilter"):
            names = {name for group in line.lstrip("~").split() for name in self.expand(group)}
            allowed = allowed - names if line.startswith("~") else allowed | names
        wanted = {name for rule in Seccomp.rules() for name in rule["names"]} - Seccomp.START
        self.assertEqual(wanted - allowed, set())

    def expand(self, group):
        if not group.startswith("@"):
            return {group}
        done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
        words = [line.strip() for line in done.stdout.splitlines()[1:]]
        words = [word for word in words if word and not word.startswith("#")]
        return {name for word in words for name in self.expand(word)}

    def test_its_configuration_writes_only_where_the_unit_may(self):
        self.assertEqual(self.setting("ProtectSystem"), ["strict"])
        roots = {"Runtime": "/run", "State": "/var/lib", "Logs": "/var/log"}
        writable = {f"{root}/{self.setting(f'{kind}Directory')[0]}" for kind, root in roots.items()}
        config = tomllib.loads((DEPLOY / "ringroom.toml").read_text())
        self.assertEqual({os.path.dirname(path) for path in paths(config)}, writable - {"/run/ringroom"})

    def test_what_is_commented_out_is_valid_too(self):
        text = (DEPLOY / "ringroom.toml").read_text()
        with_redis = re.sub(r"^# (\[redis\]|url = .*|password_file = .*)$", r"\1", text, flags=re.M)
        self.assertEqual(list(check_config(with_redis)["redis"]), ["url", "password_file"])

    def test_its_files_are_valid(self):
        config = check_config((DEPLOY / "ringroom.toml").read_text())
        self.assertTrue(config["listener"][0]["proxy_protocol"])
        path = "/etc/ringroom/ringroom.toml"
        self.assertTrue(all(path in line for line in self.setting("ExecStart") + self.setting("ExecStartPre")))


class Seccomp(unittest.TestCase):
    """The profile of containers, put in force by libseccomp as a container runtime does it."""

    # What a container runtime calls before the server begins, and a server of its own never does.
    START = {"setgid", "setuid", "setgroups"}

    @staticmethod
    def rules():
        return json.loads((DEPLOY / "container/seccomp.json").read_text())["syscalls"]

    def confined(self, *command, without=()):
        """The command under the profile, less some calls."""
        return [sys.executable, str(Path(__file__).with_name("confine.py")),
                str(DEPLOY / "container/seccomp.json"), ",".join(without), *map(str, command)]

    def probe(self, **confinement):
        done = subprocess.run(self.confined(BINARY, "probe", "--json", **confinement), capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return {row["subject"]: row["verdict"] for row in json.loads(done.stdout)["findings"]}

    def setUp(self):
        try:
            import seccomp  # noqa: F401
        except ImportError:
            self.skipTest("wants Debian's Python and python3-seccomp")

    def test_the_probe_finds_rings_and_tables_of_their_own(self):
        told = self.probe()
        for subject in ("io_uring", "io_uring flags", "unshare(CLONE_FILES)"):
            self.assertEqual(told[subject], "ok", subject)

    def test_without_its_lines_the_probe_says_what_is_missing(self):
        rings = [name for rule in self.rules() for name in rule["names"] if name.startswith("io_uring")]
        self.assertEqual(len(rings), 3)
        self.assertEqual(self.probe(without=rings)["io_uring"], "advice")
        self.assertEqual(self.probe(without=["unshare"])["unshare(CLONE_FILES)"], "advice")

    def test_the_server_serves_and_drains_under_it(self):
        for driver in ("uring", "epoll"):
            with self.subTest(driver), tempfile.TemporaryDirectory() as directory:
                self.serves_bans_and_knows_it_after_a_restart(driver, Path(directory))

    def serves_bans_and_knows_it_after_a_restart(self, driver, directory):
        """Everything that a server does with files: a UNIX socket, its decisions, its audit trail, certificates."""
        path, state, audit, token = (directory / name for name in ("socket", "state", "audit", "token"))
        token.write_text("a-token-of-more-than-sixteen-bytes")
        key, certificate, _, trusting = self_signed(directory)
        for starts in (1, 2):
            port, tls, control = free_ports(3)
            config = directory / "ringroom.toml"
            config.write_text(self.listeners(path, port, tls, key, certificate))
            command = self.confined(
                BINARY, "--config", config, "--control", f"{HOST}:{control}", "--driver", driver,
                *(word for setting in (f"control.token_file={token}", f"control.state_file={state}", f"audit.file={audit}",
                                       "dev.echo=true", "drain.window_ms=0") for word in ("--set", setting)))
            with started(*command, port=port, control=control) as process:
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o660)
                for where, context in ((port, None), (path, None), (tls, trusting)):
                    with WebSocket(where, tls=context) as client:
                        self.assertEqual(client.echo(driver), driver)
                url, secret = f"http://{HOST}:{control}", token.read_text()
                self.assertIn('"status":"ok"', get(f"{url}/health", secret))
                self.assertIn("ringroom_accepts_total", get(f"{url}/metrics", secret))
                if starts == 1:
                    get(f"{url}/v1/bans", secret, {"user": "ann"})
                self.assertIn('"ann"', get(f"{url}/v1/bans", secret), "the ban holds over a restart")
                process.send_signal(signal.SIGHUP)
                self.wait_for_a_line(process, "settings and certificates are reloaded")
                process.terminate()
                self.assertEqual(process.wait(15), 0, driver)
            self.assertFalse(path.exists(), "its socket is gone with it")
            self.assertEqual([line.count('"ban"') for line in audit.read_text().splitlines()], [1])

    def listeners(self, path, port, tls, key, certificate):
        return f"""
[[listener]]
address = "unix:{path}"
[[listener]]
address = "{HOST}:{port}"
[[listener]]
address = "{HOST}:{tls}"
tls = {{ certificate_file = "{certificate}", key_file = "{key}" }}
"""

    def wait_for_a_line(self, process, words):
        patience = threading.Timer(PATIENCE_S, process.kill)
        patience.start()
        try:
            self.assertTrue(any(words in line for line in process.stdout), f"it did not say: {words}")
        finally:
            patience.cancel()

    @unittest.skipUnless(os.getuid() == 0, "else the kernel refuses them anyway")
    def test_what_a_server_never_does_is_refused(self):
        actions = (
            "os.mkdir(path)", "os.symlink('/', path)", "os.chown('.', 1, 1)", "os.mknod(path)",
            "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "unshare(0x04000000)",  # CLONE_NEWUTS
        )
        head = """
import ctypes, os, socket
path = "made"
def unshare(flags):
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""
        for action in actions:
            with tempfile.TemporaryDirectory() as directory:
                command = [sys.executable, "-c", head + action]
                run = lambda command: subprocess.run(command, cwd=directory, capture_output=True, text=True)
                confined = run(self.confined(*command))
                self.assertIn("Operation not permitted", confined.stderr, action)
                self.assertEqual(run(command).returncode, 0, "it can be done without the profile")

class Container(unittest.TestCase):
    TEXT = (DEPLOY / "container/Dockerfile").read_text()

    def test_it_builds_with_the_declared_compiler(self):
        cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
        version = cargo["workspace"]["package"]["rust-version"]
        self.assertIn(f"FROM rust:{version}-", self.TEXT)

    def test_it_exposes_the_default_ports_and_stops_as_the_server_does(self):
        settings = defaults()
        ports = [settings[key].rsplit(":", 1)[1] for key in ("listener.address", "control.address")]
        self.assertIn(f"EXPOSE {' '.join(ports)}", self.TEXT)
        self.assertIn("STOPSIGNAL SIGTERM", self.TEXT)
        self.assertRegex(self.TEXT, r"\nUSER (?!0|root)")

    def test_it_has_the_certificates_that_the_server_believes(self):
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        image = self.TEXT.split("\nFROM ")[-1]
        self.assertIn(f"\nCOPY --from=build {bundle} {bundle}\n", image)

    def test_it_leaves_out_what_was_made_here_and_nothing_that_is_committed(self):
        left_out = (DEPLOY / "container/Dockerfile.dockerignore").read_text().splitlines()
        left_out = [line for line in left_out if line and not line.startswith("#")]
        names = {line.removeprefix("**/") for line in left_out if line.startswith("**/")}
        paths = {line for line in left_out if not line.startswith("**/")}
        is_left_out = lambda path: any(
            path == known or path.startswith(f"{known}/") for known in paths) or bool(names & set(path.split("/")))
        for path in ("target/release/ringroom", "tests/fuzz/target/debug", "tests/.tools/autobahn", "clients/js/node_modules/ws",
                     "benches/peers/node/node_modules/ws", "benches/report/__pycache__/x.pyc", ".git/HEAD"):
            self.assertTrue(is_left_out(path), path)
        # A path is where it says, or it leaves nothing out.
        for path in paths:
            self.assertTrue((ROOT / path).parent.is_dir(), path)
        committed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        self.assertEqual([path for path in committed.splitlines() if is_left_out(path)], [])

    def test_the_files_it_names_exist(self):
        for name in re.findall(r"tuning/deploy/\S+", self.TEXT):
            self.assertTrue((ROOT / name).exists(), name)


class Kubernetes(unittest.TestCase):
    DOCUMENTS = {
        document["kind"]: document
        for document in yaml.safe_load_all((DEPLOY / "kubernetes/ringroom.yaml").read_text())
    }
    POD = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]
    CONTAINER = POD["containers"][0]

    def config(self):
        return check_config(self.DOCUMENTS["ConfigMap"]["data"]["ringroom.toml"])

    def ports(self):
        return {port["name"]: port["containerPort"] for port in self.CONTAINER["ports"]}

    def test_its_parts_name_one_another(self):
        pod, labels = self.POD, self.DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for kind in ("Service", "Deployment", "PodDisruptionBudget"):
            selector = self.DOCUMENTS[kind]["spec"]["selector"]
            self.assertEqual(selector.get("matchLabels", selector), labels, kind)
        self.assertIn(self.DOCUMENTS["Service"]["spec"]["ports"][0]["targetPort"], self.ports())
        volumes = {volume["name"] for volume in pod["volumes"]}
        self.assertEqual({mount["name"] for mount in self.CONTAINER["volumeMounts"]}, volumes)
        self.assertEqual(pod["volumes"][0]["configMap"]["name"], self.DOCUMENTS["ConfigMap"]["metadata"]["name"])
        variables = {variable["name"]: variable.get("value") for variable in self.CONTAINER["env"]}
        directory, name = variables["RINGROOM_CONFIG"].rsplit("/", 1)
        self.assertEqual(variables["RINGROOM_REDIS_ADVERTISE"], f"$(POD_IP):{self.ports()['websocket']}")
        self.assertIn(name, self.DOCUMENTS["ConfigMap"]["data"])
        self.assertIn(directory, {mount["mountPath"] for mount in self.CONTAINER["volumeMounts"]})

    def test_the_servers_own_view_of_its_configuration_agrees(self):
        config, ports, settings = self.config(), self.ports(), defaults()
        self.assertEqual(config["listener"][0]["address"], f"0.0.0.0:{ports['websocket']}")
        self.assertEqual(config["control"]["address"], f"0.0.0.0:{ports['control']}")
        self.assertEqual(str(config["drain"]["window_ms"]), settings["drain.window_ms"])
        self.assertEqual(str(config["cores"]["count"]), self.CONTAINER["resources"]["limits"]["cpu"])
        secret = config["control"]["token_file"]
        self.assertTrue(secret)

    def test_rooms_reach_over_all_replicas(self):
        spec, config = self.DOCUMENTS["Deployment"]["spec"], self.config()
        self.assertGreater(spec["replicas"], 1)
        self.assertTrue(config["redis"]["url"])
        (spread,) = self.POD["topologySpreadConstraints"]
        self.assertEqual(spread["labelSelector"], spec["selector"])

    def test_secrets_are_where_the_volume_has_them(self):
        text = (DEPLOY / "kubernetes/ringroom.yaml").read_text()
        config = tomllib.loads(self.DOCUMENTS["ConfigMap"]["data"]["ringroom.toml"])
        (where,) = [mount["mountPath"] for mount in self.CONTAINER["volumeMounts"] if mount["name"] == "secret"]
        for path in config["control"]["token_file"], config["redis"]["password_file"]:
            directory, name = path.rsplit("/", 1)
            self.assertEqual(directory, where)
            self.assertIn(f"--from-literal={name}=", text)

    def test_a_pod_is_killed_only_after_its_drain(self):
        command = self.CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
        self.assertEqual(command[0], "sleep")
        needed_ms = int(command[1]) * 1000 + self.config()["drain"]["window_ms"] + GRACE_MS
        self.assertGreater(self.POD["terminationGracePeriodSeconds"] * 1000, needed_ms)
        readiness = self.CONTAINER["readinessProbe"]
        noticed_s = readiness["periodSeconds"] * readiness["failureThreshold"]
        self.assertLess(noticed_s, self.config()["drain"]["window_ms"] / 1000)

    def test_its_probes_are_routes_of_the_control_plane_that_want_no_token(self):
        port, control = free_ports(2)
        command = [BINARY, "--listen", f"{HOST}:{port}", "--control", f"{HOST}:{control}"]
        probes = [self.CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
        with started(*command, port=port, control=control):
            for probe in probes:
                self.assertEqual(probe["port"], "control")
                self.assertIn("true", get_in_time(f"http://{HOST}:{control}{probe['path']}"))
        self.assertEqual([probe["path"] for probe in probes], ["/ready", "/live", "/ready"])

    def test_everything_that_is_bounded_fits_into_the_memory(self):
        settings, config = defaults(), self.config()
        of = lambda key: config.get(key.split(".")[0], {}).get(key.split(".")[1], settings[key])
        self.assertEqual(self.CONTAINER["resources"]["limits"], self.CONTAINER["resources"]["requests"])
        limit = int(self.CONTAINER["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
        connection_bytes = 8 << 10  # more than the README reckons, kernel memory included
        parties = config["cores"]["count"] + 1
        needed = (int(of("limits.outbox_total_bytes")) + int(of("limits.inbox_total_bytes"))
                  + int(of("rooms.history_bytes"))
                  + int(of("mesh.backlog_bytes")) * parties + int(of("redis.queue_bytes"))
                  + int(of("admission.connections")) * connection_bytes)
        self.assertLess(needed, limit)

    def test_it_may_nothing_but_serve(self):
        self.assertEqual(self.POD["securityContext"]["seccompProfile"],
                         {"type": "Localhost", "localhostProfile": "profiles/ringroom.json"})
        self.assertTrue(self.POD["securityContext"]["runAsNonRoot"])
        self.assertFalse(self.POD["automountServiceAccountToken"])
        context = self.CONTAINER["securityContext"]
        self.assertFalse(context["allowPrivilegeEscalation"])
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(self.DOCUMENTS["Service"]["spec"]["sessionAffinity"], "None")


class Monitoring(unittest.TestCase):
    """Names are those of a server with a Redis, which has some of its own."""

    LABELS = ("reason", "state")

    @classmethod
    def setUpClass(cls):
        port, control, redis = free_ports(3)
        command = [BINARY, "--listen", f"{HOST}:{port}", "--control", f"{HOST}:{control}",
                   "--set", f"redis.url=redis://{HOST}:{redis}"]
        with (tempfile.TemporaryDirectory() as directory,
              started("redis-server", "--port", str(redis), "--bind", HOST, "--save", "", "--dir", directory, port=redis),
              started(*command, port=port, control=control)):
            end = time.monotonic() + PATIENCE_S
            while 'ringroom_bridge_link{state="up"} 1' not in (text := get(f"http://{HOST}:{control}/metrics")):
                if time.monotonic() > end:
                    raise AssertionError("the server does not find Redis")
                time.sleep(0.05)
        cls.names = set(re.findall(r"^(ringroom_\w+)", text, re.M))
        limits = {box: re.findall(rf'^ringroom_{box}_limit_bytes\{{core="\d+"\}} (\d+)$', text, re.M)
                  for box in ("outbox", "inbox")}
        cls.limit_bytes = {box: sum(map(int, limits)) for box, limits in limits.items()}
        cls.values = {}
        for label in cls.LABELS:
            for name, value in re.findall(rf'^(ringroom_\w+)\{{.*{label}="(\w+)"', text, re.M):
                cls.values.setdefault((name, label), set()).add(value)

    def assert_queries_name_what_exists(self, queries):
        self.assertTrue(queries)
        for query in queries:
            for name in re.findall(r"\bringroom_\w+", query):
                self.assertIn(name, self.names, query)
            for label in self.LABELS:
                for name, values in re.findall(rf'(ringroom_\w+)\{{[^}}]*{label}[!=~]+"([\w|]+)"', query):
                    self.assertEqual(set(values.split("|")) - self.values[name, label], set(), query)

    def alerts(self):
        groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_promtool_finds_nothing(self):
        self.promtool("check", "config", "prometheus.yml")
        self.promtool("check", "rules", "alerts.yml")

    def test_alerts_fire_for_what_they_mean(self):
        self.promtool("test", "rules", "alerts.test.yml")

    def test_each_alert_is_shown_to_fire_and_not_to(self):
        tests = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yml").read_text())["tests"]
        cases = [case for test in tests for case in test["alert_rule_test"]]
        every = {rule["alert"] for rule in self.alerts()}
        self.assertEqual({case["alertname"] for case in cases if case["exp_alerts"]}, every)
        (idle,) = [test for test in tests if test["name"] == "an idle server raises nothing"]
        self.assertEqual({case["alertname"] for case in idle["alert_rule_test"]}, every)
        # That it raises nothing says something only if it has all that is asked for.
        there = {re.match(r"\w+", series["series"])[0] for series in idle["input_series"]}
        asked = {name for rule in self.alerts() for name in re.findall(r"\bringroom_\w+", rule["expr"])}
        self.assertEqual(asked - there, set())

    def test_alerts_ask_for_metrics_that_exist(self):
        self.assert_queries_name_what_exists([rule["expr"] for rule in self.alerts() if rule["alert"] != "RingroomDown"])
        for rule in self.alerts():
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertTrue(rule["annotations"]["summary"])

    def test_bounds_in_alerts_are_the_servers_own_or_its_defaults_which_no_shipped_configuration_changes(self):
        for box in "outbox", "inbox":
            (rule,) = [rule for rule in self.alerts() if rule["alert"].lower() == f"ringroom{box}esfull"]
            self.assertRegex(rule["expr"], rf"ringroom_{box}_bytes / ringroom_{box}_limit_bytes\) > 0\.\d+$")
            # Each core has an equal part, in whole bytes.
            left_over = int(defaults()[f"limits.{box}_total_bytes"]) - self.limit_bytes[box]
            self.assertTrue(0 <= left_over < 256, left_over)
        shipped = [(DEPLOY / "ringroom.toml").read_text(), Kubernetes.DOCUMENTS["ConfigMap"]["data"]["ringroom.toml"]]
        self.assertFalse([text for text in shipped if re.search(r"^queue_", text, re.M)])
        (rule,) = [rule for rule in self.alerts() if rule["alert"] == "RingroomRedisQueueFills"]
        for what in "bytes", "messages":
            self.assertIn(f"ringroom_bridge_queue_{what} / {defaults()[f'redis.queue_{what}']} >", rule["expr"])

    def test_prometheus_asks_where_the_control_plane_is(self):
        (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
        self.assertEqual(job["static_configs"][0]["targets"], [defaults()["control.address"]])
        (rule,) = [rule for rule in self.alerts() if rule["alert"] == "RingroomDown"]
        self.assertIn(f'job="{job["job_name"]}"', rule["expr"])

    def test_the_dashboard_asks_for_metrics_that_exist(self):
        dashboard = json.loads((DEPLOY / "grafana/ringroom.json").read_text())
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        self.assert_queries_name_what_exists([target["expr"] for panel in panels for target in panel["targets"]])
        for panel in panels:
            self.assertTrue(panel["title"] and panel["description"], panel["id"])
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))

    def test_prometheus_understands_every_query_of_the_dashboard(self):
        dashboard = json.loads((DEPLOY / "grafana/ringroom.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        rules = [{"record": f"query_{index}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*")}
                 for index, query in enumerate(queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            self.promtool("check", "rules", file.name)


if __name__ == "__main__":
    unittest.main()
