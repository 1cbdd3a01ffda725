"""The scripts: on a made-up host in a directory, and on a real one in a network namespace."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TUNING = ROOT / "tuning"
SCRIPTS = ["check.sh", "apply.sh", "revert.sh"]

# A host of four CPUs and a card with one queue, on which everything is wanting.
HOST = {
    "proc/sys/kernel/osrelease": "6.18.0-test",
    "proc/sys/kernel/numa_balancing": "1",
    "proc/sys/fs/file-max": "50000",
    "proc/sys/fs/nr_open": "1024",
    "proc/sys/net/core/somaxconn": "128",
    "proc/sys/net/core/netdev_max_backlog": "1000",
    "proc/sys/net/core/busy_poll": "0",
    "proc/sys/net/core/busy_read": "0",
    "proc/sys/net/ipv4/tcp_max_syn_backlog": "512",
    "proc/sys/net/ipv4/tcp_mem": "9000\t200000\t300000",
    "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "proc/sys/net/ipv4/tcp_slow_start_after_idle": "1",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
    "proc/sys/net/ipv4/ip_local_reserved_ports": "9000-9100",
    "proc/sys/net/netfilter/nf_conntrack_max": "40000",
    "proc/sys/net/netfilter/nf_conntrack_count": "12",
    "sys/devices/system/cpu/online": "0-3",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors": "performance powersave",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors": "performance powersave",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
    "sys/devices/pci/card/msi_irqs/41": "",
    "sys/devices/pci/card/msi_irqs/42": "",
    "sys/devices/pci/card/virtio3/vendor": "",
    "sys/class/net/card0/queues/rx-0/rps_cpus": "00000000",
    "sys/class/net/card0/queues/tx-0/xps_cpus": "0",
    "sys/class/net/card0/queues/tx-1/xps_cpus": "0",
    "sys/class/net/lo/queues/rx-0/rps_cpus": "0",
    "proc/irq/41/smp_affinity_list": "0-3",
    "proc/irq/42/smp_affinity_list": "0-3",
}


class Host:
    """A made-up host in a directory."""

    def __init__(self, directory):
        self.root = Path(directory)
        for name, text in HOST.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        (self.root / "sys/class/net/card0/device").symlink_to(
            self.root / "sys/devices/pci/card/virtio3"
        )

    def run(self, script, *arguments, expect=0):
        environment = {**os.environ, "RINGROOM_TUNING_ROOT": str(self.root)}
        command = [TUNING / script, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def read(self, name):
        return (self.root / name).read_text().strip()

    def write(self, name, text):
        (self.root / name).write_text(text + "\n")

    def everything(self):
        return {
            str(path.relative_to(self.root)): path.read_text().strip()
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def changes(self, *arguments, expect=3):
        report = json.loads(self.run("check.sh", "--json", *arguments, expect=expect))
        return {(change["setting"], change["place"]): change["to"] for change in report["changes"]}


class Scripts(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.host = Host(directory.name)

    def test_shellcheck_finds_nothing(self):
        files = [TUNING / name for name in SCRIPTS] + sorted(TUNING.glob("measure-*.sh"))
        files.append(ROOT / "tests/tuning/run.sh")
        done = subprocess.run(["shellcheck", "-x", *files], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.stdout, "")

    def test_looking_changes_nothing(self):
        before = self.host.everything()
        self.host.run("check.sh", "--profile", "1m", expect=3)
        self.host.run("apply.sh", "--dry-run", "--persist", "--profile", "1m")
        self.host.run("revert.sh", "--dry-run")
        self.assertEqual(self.host.everything(), before)

    def test_each_kind_is_set_and_put_back(self):
        before = self.host.everything()
        self.host.run("apply.sh", "--profile", "1m", "--with", "busy-polling")
        expected = {
            "proc/sys/fs/file-max": "2200000",
            "proc/sys/net/core/somaxconn": "16384",
            "proc/sys/net/core/busy_poll": "50",
            "proc/sys/net/ipv4/tcp_mem": "1500000 2000000 3000000",
            "proc/sys/net/ipv4/tcp_rmem": "4096 65536 1048576",
            "proc/sys/net/ipv4/tcp_slow_start_after_idle": "0",
            "proc/sys/net/ipv4/ip_local_port_range": "1024 65535",
            "proc/sys/net/ipv4/ip_local_reserved_ports": "9000-9100,8000,8001",
            "proc/sys/kernel/numa_balancing": "0",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
            "sys/kernel/mm/transparent_hugepage/enabled": "madvise",
            "sys/class/net/card0/queues/rx-0/rps_cpus": "f",
            "sys/class/net/card0/queues/tx-0/xps_cpus": "5",
            "sys/class/net/card0/queues/tx-1/xps_cpus": "a",
            "sys/class/net/lo/queues/rx-0/rps_cpus": "0",
            "proc/irq/41/smp_affinity_list": "0",
            "proc/irq/42/smp_affinity_list": "1",
        }
        for name, text in expected.items():
            self.assertEqual(self.host.read(name), text, name)
        self.assertEqual(self.limit(), 1_048_576)
        self.host.run("revert.sh")
        # A kernel would show all choices, tabs between numbers and leading zeros again.
        choice = "sys/kernel/mm/transparent_hugepage/enabled"
        self.assertEqual(self.host.read(choice), "always")
        self.host.write(choice, before[choice])
        normal = lambda host: {name: " ".join(text.split()).lstrip("0") for name, text in host.items()}
        self.assertEqual(normal(self.host.everything()), normal(before))

    def test_twice_is_once_and_the_first_old_values_stay(self):
        arguments = ("--only", "net.*", "--steer", "keep")
        self.host.run("apply.sh", "--profile", "50k", *arguments)
        once = self.host.everything()
        self.assertIn("0 set, 0 refused", self.host.run("apply.sh", "--profile", "50k", *arguments))
        self.assertEqual(self.host.everything(), once)
        self.host.run("apply.sh", "--profile", "1m", *arguments)
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "16384")
        self.host.run("revert.sh")
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "128")
        self.assertIn("nothing to put back", self.host.run("revert.sh"))

    def test_what_was_set_further_is_left_alone(self):
        self.host.write("proc/sys/net/core/somaxconn", "65535")
        self.host.write("proc/sys/net/ipv4/tcp_rmem", "4096 16384 65536")
        self.host.run("apply.sh", "--profile", "1m", "--only", "net.*")
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "65535")
        self.assertEqual(self.host.read("proc/sys/net/ipv4/tcp_rmem"), "4096 16384 65536")
        self.assertEqual(self.host.read("proc/sys/net/ipv4/tcp_mem"), "1500000 2000000 3000000")

    def test_what_somebody_changed_since_is_not_put_back(self):
        self.host.run("apply.sh", "--only", "net.core.*")
        self.host.write("proc/sys/net/core/somaxconn", "5000")
        told = self.host.run("revert.sh", expect=1)
        self.assertIn("net.core.somaxconn: changed since to 5000", told)
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "5000")
        self.assertEqual(self.host.read("proc/sys/net/core/netdev_max_backlog"), "1000")
        self.host.run("revert.sh", "--force")
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "128")

    def test_interrupts_can_be_kept_away_from_the_cores(self):
        steer = ("--profile", "1m", "--steer", "away", "--cpus", "0-2")
        changes = self.host.changes(*steer)
        self.assertEqual(changes["irq.affinity", "/proc/irq/41/smp_affinity_list"], "3")
        self.assertEqual(changes["irq.affinity", "/proc/irq/42/smp_affinity_list"], "3")
        # The card has a queue for the one CPU that is left: spreading would be a detour.
        self.assertNotIn(("net.rps", "/sys/class/net/card0/queues/rx-0/rps_cpus"), changes)
        kept = self.host.changes("--profile", "1m", "--steer", "keep")
        self.assertFalse([setting for setting, _ in kept if setting in ("net.rps", "irq.affinity")])
        self.assertIn("leaves no other", self.host.run(
            "apply.sh", "--dry-run", "--steer", "away", "--cpus", "0-3", expect=2))

    def test_steering_that_is_asked_for_is_done_in_either_profile_or_refused(self):
        steered = ("net.rps", "net.xps", "irq.affinity")
        self.assertFalse([setting for setting, _ in self.host.changes("--profile", "50k") if setting in steered])
        for profile in ("50k", "1m"):
            changes = self.host.changes("--profile", profile, "--steer", "away", "--cpus", "0-2")
            self.assertEqual(changes["irq.affinity", "/proc/irq/41/smp_affinity_list"], "3", profile)
            changes = self.host.changes("--profile", profile, "--steer", "onto")
            self.assertEqual(changes["net.rps", "/sys/class/net/card0/queues/rx-0/rps_cpus"], "f", profile)
            self.assertIn(("net.xps", "/sys/class/net/card0/queues/tx-0/xps_cpus"), changes)
        self.host.run("apply.sh", "--steer", "away", "--cpus", "0-2")
        self.assertEqual(self.host.read("proc/irq/42/smp_affinity_list"), "3")
        (self.host.root / "sys/class/net/card0/device").unlink()
        told = self.host.run("apply.sh", "--dry-run", "--steer", "away", "--cpus", "0-2", expect=2)
        self.assertIn("--steer away: there is no network card here", told)
        self.host.run("apply.sh", "--dry-run", "--steer", "keep")

    def test_the_node_of_the_card_is_named_where_there_are_two(self):
        self.assertNotIn("NUMA node", self.host.run("check.sh", expect=3))
        for name, text in {
            "sys/devices/pci/card/virtio3/numa_node": "1",
            "sys/devices/system/node/node0/cpulist": "0-1",
            "sys/devices/system/node/node1/cpulist": "2-3",
        }.items():
            (self.host.root / name).parent.mkdir(parents=True, exist_ok=True)
            self.host.write(name, text)
        (note,) = json.loads(self.host.run("check.sh", "--json", expect=3))["notes"]
        self.assertIn('card0 is on NUMA node 1: keep the cores there (cores.cpus = "2-3")', note)
        self.assertIn(note, self.host.run("check.sh", expect=3))

    def test_masks_of_many_cpus_are_written_as_the_kernel_writes_them(self):
        self.host.write("sys/devices/system/cpu/online", "0-71")
        changes = self.host.changes("--profile", "1m", "--cpus", "0,31,32,71")
        mask = changes["net.rps", "/sys/class/net/card0/queues/rx-0/rps_cpus"]
        self.assertEqual(mask, "80,00000001,80000001")

    def test_lists_of_cpus_are_read_and_written_as_the_server_does(self):
        # As src/config/cpus.rs has them.
        for text, expanded, written in [
            ("0", "0", "0"), ("0-1", "0 1", "0,1"), ("0-2,5", "0 1 2 5", "0-2,5"),
            ("1,3-4,6-9", "1 3 4 6 7 8 9", "1,3,4,6-9"),
        ]:
            script = f'. "$1/lib/options.sh"; expanded {text}; shortened "$(expanded {text})"'
            done = subprocess.run(["bash", "-c", script, "-", TUNING], capture_output=True, text=True)
            self.assertEqual(done.stdout.split("\n"), [expanded, written, ""], done.stderr)

    def test_optional_settings_are_left_alone_unless_asked_for(self):
        plain = {setting for setting, _ in self.host.changes()}
        self.assertFalse(plain & {"net.core.busy_poll", "conntrack.bypass"})
        asked = {setting for setting, _ in self.host.changes("--with", "busy-polling")}
        self.assertEqual(asked - plain, {"net.core.busy_poll", "net.core.busy_read"})

    def test_persisted_sysctls_are_what_was_set_and_go_with_the_rest(self):
        name = "etc/sysctl.d/90-ringroom.conf"
        self.host.run("apply.sh", "--persist")
        lines = self.host.read(name).splitlines()
        self.assertIn("net.core.somaxconn = 4096", lines)
        self.assertIn("net.ipv4.ip_local_port_range = 1024 65535", lines)
        self.host.run("revert.sh")
        self.assertFalse((self.host.root / name).exists())

    def test_persisted_sysctls_of_somebody_else_are_left_alone(self):
        name, own = "etc/sysctl.d/90-ringroom.conf", "net.core.somaxconn = 65535"
        (self.host.root / name).parent.mkdir(parents=True)
        self.host.write(name, own)
        for dry in (), ("--dry-run",):
            told = self.host.run("apply.sh", "--persist", "--only", "net.*", *dry, expect=1)
            self.assertIn("/etc/sysctl.d/90-ringroom.conf is not ours", told)
            self.assertEqual(self.host.read(name), own)
        self.assertEqual(self.host.read("proc/sys/net/core/somaxconn"), "4096", "the rest is set")
        self.host.run("revert.sh")
        self.assertEqual(self.host.read(name), own)

    def limit(self):
        lines = self.host.read("etc/security/limits.d/90-ringroom.conf").splitlines()
        hard, soft = (int(line.split()[-1]) for line in lines[1:])
        self.assertEqual((lines[1:], soft), ([f"ringroom hard nofile {hard}", f"ringroom soft nofile {hard}"], hard))
        return hard

    def test_each_user_has_a_limit_that_is_kept_and_put_back(self):
        name = "etc/security/limits.d/90-ringroom.conf"
        self.host.write("proc/sys/fs/nr_open", "2097152")
        before = self.host.everything()
        lines = lambda: [line for line in self.host.read(name).splitlines()[1:] if " hard " in line]
        only = ("--profile", "50k", "--only", "limits.*")
        self.host.run("apply.sh", *only, "--user", "bob")
        self.assertEqual(lines(), ["bob hard nofile 131072"])
        self.assertIn("0 set", self.host.run("apply.sh", *only, "--user", "bob"))
        self.host.run("apply.sh", *only, "--user", "ann")
        self.assertEqual(lines(), ["bob hard nofile 131072", "ann hard nofile 131072"])
        self.host.run("apply.sh", "--profile", "1m", "--only", "limits.*", "--user", "bob")
        self.assertEqual(lines(), ["bob hard nofile 1048576", "ann hard nofile 131072"])
        self.host.run("revert.sh")
        self.assertFalse((self.host.root / name).exists())
        self.assertLessEqual(before.items(), self.host.everything().items())
        # Those of another apply.sh, whose old values are elsewhere.
        self.host.run("apply.sh", *only, "--user", "bob", "--state", str(self.host.root / "elsewhere"))
        self.host.run("apply.sh", *only)
        self.host.run("revert.sh")
        self.assertEqual(lines(), ["bob hard nofile 131072"])

    def test_no_limit_of_files_is_above_what_the_host_allows_after_a_restart(self):
        kernels_own = 1_048_576
        self.host.run("apply.sh", "--profile", "50k")
        self.assertEqual(self.limit(), 131_072)
        self.assertIn("1048576 and not 1200000", self.host.run("apply.sh", "--profile", "1m"))
        self.assertEqual(self.limit(), kernels_own)
        self.assertNotIn("and not", self.host.run("apply.sh", "--profile", "1m", "--persist"))
        self.assertEqual(self.limit(), 1_200_000)
        self.assertIn("fs.nr_open = 2097152", self.host.read("etc/sysctl.d/90-ringroom.conf"))
        # It is kept, and what is kept holds.
        self.host.run("apply.sh", "--profile", "1m")
        self.assertEqual(self.limit(), 1_200_000)
        # The file is written anew without it.
        self.host.run("apply.sh", "--profile", "1m", "--persist", "--only", "limits.*")
        self.assertEqual(self.limit(), kernels_own)

    def test_no_limit_of_files_is_above_what_the_kernel_allows_now(self):
        self.host.write("proc/sys/fs/nr_open", "100000")
        self.host.run("apply.sh", "--profile", "50k", "--only", "limits.*")
        self.assertEqual(self.limit(), 100_000)

    def test_a_file_of_somebody_else_is_not_overwritten(self):
        name = "etc/security/limits.d/90-ringroom.conf"
        (self.host.root / name).parent.mkdir(parents=True)
        self.host.write(name, "# somebody's own")
        told = self.host.run("apply.sh", "--only", "limits.*", expect=1)
        self.assertIn("not ours", told)
        self.assertEqual(self.host.read(name), "# somebody's own")
        self.host.run("revert.sh")
        self.assertEqual(self.host.read(name), "# somebody's own")

    def test_a_wrong_usage_is_told_and_does_nothing(self):
        before = self.host.everything()
        for arguments in [
            ("--profile", "2m"), ("--ports", "http"), ("--ports", "70000"), ("--cpus", "3-1"),
            ("--connections", "0"), ("--connections", "-1"), ("--cores", "257"), ("--steer", "up"),
            ("--with", "everything"), ("--user", "a b"), ("--interface", "../x"), ("--nonsense",), ("--only", "nope"), ("--profile",), ("--cpus", "$(reboot)"),
        ]:
            for script in SCRIPTS:
                self.host.run(script, *arguments, expect=2)
        self.assertEqual(self.host.everything(), before)

    def test_each_subject_can_be_asked_for_alone(self):
        everything = json.loads(self.host.run("check.sh", "--json", expect=3))["findings"]
        for row in everything:
            pattern = row["subject"].replace("(", "[(]")
            alone = json.loads(self.host.run("check.sh", "--json", "--only", pattern,
                                             expect=3 if row["verdict"] == "short" else 0))
            self.assertEqual(alone["findings"], [row])
        # What apply.sh cannot set it does not take.
        self.assertIn("no such setting", self.host.run("apply.sh", "--dry-run", "--only", "kernel", expect=2))

    def test_help_is_the_comment_at_the_head(self):
        for script in SCRIPTS:
            told = self.host.run(script, "--help")
            self.assertIn(f"tuning/{script}", told)
            self.assertNotIn("set -euo", told)

    def test_every_setting_is_explained_and_the_readme_has_the_table(self):
        table = self.host.run("check.sh", "--table")
        rows = table.strip().splitlines()[2:]
        self.assertGreater(len(rows), 20)
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            self.assertEqual(len(cells), 6, row)
            self.assertTrue(all(cells), row)
            self.assertRegex(cells[4], "^(measured|counted|not measured here)", row)
        self.assertIn(table.strip(), (TUNING / "README.md").read_text())


NAMESPACE = """
set -e
ip link set lo up
mount -t sysfs none /sys
ip link add card0 numtxqueues 2 numrxqueues 2 type veth peer name card1
cd /proc/sys/net
look() { cat core/somaxconn ipv4/tcp_max_syn_backlog ipv4/tcp_slow_start_after_idle \\
  ipv4/ip_local_port_range ipv4/ip_local_reserved_ports ipv4/tcp_rmem \\
  /sys/class/net/card0/queues/?x-?/?ps_cpus; }
echo 128 > core/somaxconn
look > "$1/before"
options="--only net.* --interface card0 --state $1/state"
"$2/apply.sh" --profile 1m $options > "$1/told" || [ $? = 1 ]
look > "$1/applied"
"$2/check.sh" --profile 1m $options --json > "$1/report" || [ $? = 3 ]
"$2/revert.sh" --state "$1/state"
look > "$1/after"
"""


@unittest.skipUnless(os.getuid() == 0, "a network namespace wants root")
class Namespace(unittest.TestCase):
    def test_a_real_kernel_takes_the_settings_and_gives_them_back(self):
        with tempfile.TemporaryDirectory() as directory:
            command = ["unshare", "--net", "--mount", "bash", "-c", NAMESPACE, "-", directory, TUNING]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            read = lambda name: (Path(directory) / name).read_text()
            applied = [line.split() for line in read("applied").splitlines()]
            self.assertEqual(applied[0], ["16384"])
            self.assertEqual(applied[2], ["0"])
            self.assertEqual(applied[3], ["1024", "65535"])
            self.assertEqual(applied[4], ["8000-8001"], "the kernel joins the two")
            self.assertEqual(read("after"), read("before"))
            # What the namespace has of its own now suffices; the host's own is refused, not broken.
            own = ("net.core.somaxconn", "net.ipv4.ip_local_port_range",
                   "net.ipv4.ip_local_reserved_ports", "net.xps", "net.rps")
            left = {change["setting"] for change in json.loads(read("report"))["changes"]}
            self.assertFalse(left & set(own), left)

    def test_the_ports_can_be_taken_off_connection_tracking(self):
        script = """
            set -e
            options="--only conntrack.* --with notrack --ports 8000,9000-9010 --state $1/state"
            "$2/apply.sh" $options
            "$2/apply.sh" $options | grep -q '^0 set, 0 refused'
            nft list ruleset > "$1/rules"
            "$2/revert.sh" --state "$1/state"
            nft list ruleset > "$1/after"
        """
        with tempfile.TemporaryDirectory() as directory:
            command = ["unshare", "--net", "bash", "-c", script, "-", directory, TUNING]
            done = subprocess.run(command, capture_output=True, text=True)
            if "not supported" in done.stderr:
                self.skipTest("this kernel has no nftables")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            rules = (Path(directory) / "rules").read_text()
            self.assertIn("tcp dport { 8000, 9000-9010 } notrack", rules)
            self.assertIn("tcp sport { 8000, 9000-9010 } notrack", rules)
            # A proxy on this host: its packets leave and come in over loopback.
            self.assertIn('oifname "lo" tcp dport { 8000, 9000-9010 } notrack', rules)
            self.assertIn('iifname "lo" tcp sport { 8000, 9000-9010 } notrack', rules)
            self.assertEqual((Path(directory) / "after").read_text(), "")


@unittest.skipUnless(os.getuid() == 0, "a network namespace wants root")
class Measurements(unittest.TestCase):
    def measured(self, script, server, *arguments):
        command = ["bash", "-c", 'ulimit -Sn 1024; exec "$@"', "-", TUNING / script, server, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def test_more_connections_are_measured_than_the_soft_limit_has_descriptors(self):
        for script, arguments, words in (("measure-accept-queue.sh", ("1500", "1"), "1500 of 1500 answered"),
                                         ("measure-socket-memory.sh", ("1500",), "bytes a connection")):
            done = self.measured(script, os.environ["SERVER_BINARY"], *arguments)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(words, done.stdout)

    def test_a_measurement_that_fails_leaves_no_server_behind(self):
        for script in "measure-accept-queue.sh", "measure-socket-memory.sh":
            with tempfile.TemporaryDirectory() as directory:
                # It runs, and listens nowhere.
                server, told = Path(directory) / "server", Path(directory) / "pid"
                server.write_text(f"#!/bin/sh\necho $$ > {told}\nexec sleep 600\n")
                server.chmod(0o755)
                self.assertNotEqual(self.measured(script, server, "5").returncode, 0)
                self.assertFalse(Path(f"/proc/{told.read_text().strip()}").exists(), script)


if __name__ == "__main__":
    unittest.main()
