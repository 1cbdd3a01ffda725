"""check.sh and `ringroom probe` say the same of the same host."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "tuning/check.sh"
SERVER = os.environ["SERVER_BINARY"]

# A namespace in which the network's own settings are poor, and one in which they are good.
POOR = "echo 128 > core/somaxconn; echo 256 > ipv4/tcp_max_syn_backlog; echo 50000 50999 > ipv4/ip_local_port_range"
GOOD = "echo 9999 > core/somaxconn; echo 9999 > ipv4/tcp_max_syn_backlog; echo 1024 65535 > ipv4/ip_local_port_range"

# A command before which a system call is refused with EPERM.
REFUSING = [sys.executable, "-c", """
import os, seccomp, sys
calls = seccomp.SyscallFilter(seccomp.ALLOW)
calls.add_rule(seccomp.ERRNO(1), sys.argv[1])
calls.load()
os.execvp(sys.argv[2], sys.argv[2:])
"""]


def findings(command, expected=(0, 3)):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in expected, (command, done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["sufficient"] == (done.returncode == 0), "the exit code says it too"
    fields = ("verdict", "found", "wanted", "cost", "mend")
    return {row["subject"]: tuple(row[field] for field in fields) for row in report["findings"]}


class Agreement(unittest.TestCase):
    maxDiff = None

    def agree(self, before=(), **question):
        options = [text for name, value in question.items() for text in (f"--{name}", str(value))]
        probe = findings([*before, SERVER, "probe", "--json", *options])
        check = findings([*before, str(CHECK), "--json", *options])
        self.assertEqual(check, probe, question)
        return probe

    def test_for_many_questions(self):
        for connections in (1, 19_000, 50_000, 1_000_000, 10_000_000 - 1):
            for cores in (0, 1, 3, 256):
                self.agree(connections=connections, cores=cores)

    def test_the_profiles_ask_for_what_the_probe_asks(self):
        for profile, connections in (("50k", 50_000), ("1m", 1_000_000)):
            options = ["--connections", str(connections)]
            self.assertEqual(
                findings([str(CHECK), "--json", "--profile", profile]),
                findings([SERVER, "probe", "--json", *options]),
            )

    def test_with_other_limits_and_fewer_cpus(self):
        for limits in ("ulimit -n 500", "ulimit -l 64", "taskset -p 1 $$ >/dev/null"):
            shell = ["bash", "-c", f'{limits}; exec "$@"', "-"]
            self.agree(before=shell, connections=50_000)

    def test_where_the_kernel_refuses(self):
        for call, subjects in (("unshare", ("unshare(CLONE_FILES)", "RLIMIT_NOFILE")),
                               ("io_uring_setup", ("io_uring", "io_uring flags"))):
            told = self.agree(before=["bash", "-c", 'ulimit -n 500; exec "$@"', "-", *REFUSING, call], connections=50_000)
            for subject in subjects:
                self.assertNotEqual(told[subject][0], "ok", subject)

    @unittest.skipUnless(os.getuid() == 0, "a network namespace wants root")
    def test_in_a_network_namespace(self):
        for values, verdict in ((POOR, "advice"), (GOOD, "ok")):
            script = f'cd /proc/sys/net; {values}; cd /; exec "$@"'
            told = self.agree(before=["unshare", "--net", "bash", "-c", script, "-"])
            for subject in ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog",
                            "net.ipv4.ip_local_port_range"):
                self.assertEqual(told[subject][0], verdict, subject)


if __name__ == "__main__":
    unittest.main()
