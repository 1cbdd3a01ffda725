"""The report's rendering, reckoning and parsing, on stored sample data: no server, no figures.

    python3 -m unittest discover -s benches/report
"""

import contextlib
import io
import itertools
import json
import math
import os
import re
import runpy
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree as xml
from pathlib import Path

import generator
import journal
import machine
import markdown
import model
import pages
import process
import svg
from figures import connections, load, nodes
from scale import FULL, QUICK

HERE = Path(__file__).resolve().parent
SAMPLE = json.loads((HERE / "sample.json").read_text(encoding="utf-8"))


def sections():
    return model.from_json(SAMPLE["sections"])


class Rendering(unittest.TestCase):
    def setUp(self):
        self.text = markdown.render(sections(), "command")

    def test_each_claim_says_met_or_missed(self):
        self.assertIn("**2 of 3 targets met.** Missed: storm, connections refused or lost.", self.text)
        self.assertRegex(self.text, r"\| \[echo, CPU a message, times bare epoll\]\(#echo\) \| 1\.03 \| 0\.99 to 1\.06 \| "
                                    r"at most 1\.05 \| met \|")
        self.assertIn("at least 0.90: met", self.text)

    def test_each_missed_target_says_why_as_far_as_that_was_measured(self):
        measured = sections()
        with contextlib.redirect_stdout(io.StringIO()):
            measured[1].claim("storm, late", model.Spread(3.0, 2.0, 4.0), 1, " ms", why="Of them 2 ms are the kernel's.")
            measured[1].claim("storm, early", 1, 1, why="It is not missed.")
        missed = re.search(r"## Missed\n\n((?:- .*\n)+)", markdown.render(measured, "command"))[1].splitlines()
        self.assertEqual(missed, [
            "- [storm, connections refused or lost](#storm): **2**, at most 0. What was measured beside it does not tell why.",
            "- [storm, late](#storm): **3 ms**, at most 1 ms. Of them 2 ms are the kernel's."])
        measured[1].claims.clear()
        self.assertNotIn("## Missed", markdown.render(measured, "command"))

    def test_whose_the_time_of_a_command_was_is_told(self):
        with generator.kernels_share() as own:
            process.run([sys.executable, "-c", "sum(range(10 ** 7))"])
        with generator.kernels_share() as kernel:
            process.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", "count=4000"])
        self.assertLess(own[0], 0.5)
        self.assertGreater(kernel[0], 0.5)

    def test_each_section_says_when_and_of_what_it_was_taken(self):
        self.assertIn("Taken 2026-01-02, commit 0123456789ab, kernel 6.18.0, in 61 s.", self.text)
        self.assertIn("Taken 2025-12-31, commit ba9876543210, kernel 6.17.0, in 300 s; run by hand.", self.text)

    def test_the_machine_is_that_of_most_sections_and_others_say_in_what_theirs_differs(self):
        self.assertIn("Taken 2025-12-31 to 2026-01-02, of 0123456789ab (2), ba9876543210 (1), by sections.", self.text)
        self.assertIn("| CPUs | 2 |", self.text)
        self.assertEqual(self.text.count("Otherwise than in the table"), 1)
        self.assertIn("in 300 s; run by hand. Otherwise than in the table: CPUs 4.", self.text)
        measured = sections()
        measured[0].taken.machine = []
        self.assertIn("in 61 s. What else the machine was is not stored.", markdown.render(measured, "command"))
        self.assertIn("of nothing", markdown.render([], "command"))

    def test_the_load_before_a_section_is_told_where_it_is_known(self):
        measured = sections()
        measured[0].taken.load = 1.25
        again = model.from_json(json.loads(json.dumps(model.to_json(measured))))
        text = markdown.render(again, "command")
        self.assertEqual(text.count("kernel 6.18.0, load before 1.25, in 61 s."), 1)
        self.assertEqual(text.count("load before 1.25"), 1)

    def test_what_was_never_measured_is_named(self):
        self.assertNotIn("Never measured", self.text)
        text = markdown.render(sections(), "command", ["fairness", "churn"])
        self.assertIn("**Never measured:** `fairness`, `churn` (run by hand).", text)

    def test_doubts_commands_and_charts_are_shown(self):
        self.assertIn("- In doubt: node ws, echo, theirs: 3 messages lost", self.text)
        self.assertIn("ringroom-loadgen storm -n 10000", self.text)
        self.assertIn("![Memory by connections](charts/sample.svg)", self.text)

    def test_tables_keep_their_columns(self):
        for block in re.findall(r"(?:^\|.*\n)+", self.text, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            self.assertEqual(len(widths), 1, block)

    def test_what_is_stored_renders_the_same_again(self):
        again = model.from_json(json.loads(json.dumps(model.to_json(sections()))))
        self.assertEqual(again, sections())


class Charts(unittest.TestCase):
    def drawn(self, chart):
        root = xml.fromstring(svg.draw(chart))
        places = [float(number) for path in root.iter("{http://www.w3.org/2000/svg}circle")
                  for number in (path.get("cx"), path.get("cy"))]
        return root, places

    def test_a_chart_is_one_file_with_every_line_inside_it(self):
        chart = sections()[0].charts[0]
        root, places = self.drawn(chart)
        self.assertEqual(len(places), 2 * sum(len(line) for _, line in chart.series))
        for x, y in zip(places[::2], places[1::2], strict=True):
            self.assertTrue(0 <= x <= svg.WIDTH and 0 <= y <= svg.HEIGHT)
        words = "".join(root.itertext())
        for label in ("Memory by connections", "plain & simple", "connections", "KB"):
            self.assertIn(label, words)

    def test_odd_data_is_drawn_as_well(self):
        for line in ([], [(0, 0)], [(1, 5), (2, 5)], [(25, 0.001), (90, 250_000)]):
            for logarithmic in False, True:
                chart = model.Chart("odd", "Odd", "x", "y", [("line", line)], y_logarithmic=logarithmic)
                self.drawn(chart)


class Pages(unittest.TestCase):
    def test_only_known_numbers_are_replaced(self):
        text = "about —<!-- echo_us --> µs, 7.5<!-- unknown -->, 12,000<!-- box_4_gb --> and 3 more"
        self.assertEqual(pages.fill(text, {"echo_us": 4.456, "box_4_gb": 98_765.0}),
                         "about 4.46<!-- echo_us --> µs, 7.5<!-- unknown -->, 99,000<!-- box_4_gb --> and 3 more")

    def test_every_number_of_the_pages_can_be_made(self):
        claims = {pages.claim_name(words) + end: 1.0 for words in claim_words() for end in ("", "_low", "_high")}
        figures = {name: 1.0 for name in ("connection_kb", "connection_us", "session_kb", "session_us", "joined_kb", "echo_us", "delivery_1_us",
                                          "delivery_16_us", "handshake_us", "base_mb",
                                          "node_to_node_p50_ms", "node_to_node_p99_ms",
                                          "received_1_times_bare", "received_16_times_bare")}
        for page in load_command()["PAGES"]:
            wanted = pages.names(page.read_text(encoding="utf-8"))
            self.assertTrue(wanted)
            self.assertEqual(wanted - set(pages.reckon({**claims, **figures})), set())

    def test_what_the_generator_costs_is_said_by_figures_and_by_no_word_that_they_may_contradict(self):
        page = " ".join((machine.ROOT / "loadgen" / "README.md").read_text(encoding="utf-8").split())
        report = " ".join((machine.ROOT / "benches" / "REPORT.md").read_text(encoding="utf-8").split())
        self.assertLessEqual({"received_1_times_bare", "received_16_times_bare"}, pages.names(page))
        source = (HERE / "figures" / "costs.py").read_text(encoding="utf-8")
        for words in "aim is missed", "not by this program", "least that any receiver":
            self.assertNotIn(words, page)
            self.assertFalse(words in report, f"benches/REPORT.md says: {words}")
            self.assertNotIn(words, " ".join(source.split()))

    def test_what_is_offered_by_a_share_of_a_capacity_names_which(self):
        rows = [row for row in (machine.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
                if re.match(r"\| `(latency|overload)`", row)]
        self.assertEqual(len(rows), 2)
        for row in rows:
            self.assertIn("with one message in flight", row)

    def test_claims_are_known_by_their_words(self):
        known = pages.known_from(sections())
        self.assertEqual(known["echo_cpu_a_message_times_bare_epoll"], 1.03)
        self.assertEqual(known["goodput_at_200_times_the_peak"], 0.97)
        self.assertEqual((known["echo_cpu_a_message_times_bare_epoll_low"],
                          known["echo_cpu_a_message_times_bare_epoll_high"]), (0.99, 1.06))
        self.assertNotIn("goodput_at_200_times_the_peak_low", known)
        self.assertEqual(known["echo_us"], 4.46)

    def test_a_figure_of_the_readme_has_the_spread_that_its_claim_has(self):
        page = (machine.ROOT / "README.md").read_text(encoding="utf-8")
        results = json.loads((machine.ROOT / "benches" / "results.json").read_text(encoding="utf-8"))
        spread = {pages.claim_name(claim.name) for section in model.from_json(results["sections"])
                  for claim in section.claims if claim.low is not None}
        named = pages.names(page)
        self.assertIn("goodput_at_200_times_the_peak", spread & named)
        for name in spread & named:
            self.assertLessEqual({f"{name}_low", f"{name}_high"}, named)

    def test_capacity_counts_process_and_kernel_memory_in_bytes(self):
        known = pages.reckon({"joined_kb": 1.5, "session_kb": 1.2})
        self.assertEqual(pages.KERNEL_BYTES, 4_085)
        self.assertAlmostEqual(known["million_process_gb"], 1.536)
        self.assertAlmostEqual(pages.reckon({"joined_kb": 1.5, "session_kb": 2.0})["million_process_gb"], 2.048)
        table = (machine.ROOT / "tuning" / "README.md").read_text(encoding="utf-8")
        parts = [int(cell.replace(",", "")) for cell in re.findall(r"^\| `.*\| [\d,]+ \| ([\d,]+) \|$", table, re.MULTILINE)]
        self.assertEqual(sum(parts), pages.KERNEL_BYTES)

    FIGURES = {"joined_kb": 1.5, "session_kb": 1.2, "session_us": 0.5, "base_mb": 10.0}

    def test_a_box_holds_what_its_memory_does_less_all_that_is_there_without_connections(self):
        known = pages.reckon(self.FIGURES)
        # 6 GB less 1 GiB, twice 256 MiB, three times 64 MiB and 10 MiB, by 13,813 bytes each.
        self.assertAlmostEqual(known["box_8_gb_left"], 6 - (1024 + 256 + 256 + 3 * 64 + 10) * (1 << 20) / 1e9)
        self.assertEqual((known["box_4_gb"], known["box_8_gb"]), (12_000, 300_000))
        self.assertAlmostEqual(known["box_32_gb_cpus"], known["box_32_gb"] * 0.5e-6)
        self.assertEqual(known["box_32_gb_cores"], 2)
        self.assertEqual(known["box_8_gb_descriptors"], 157_500 + 256)
        self.assertEqual(pages.fill("0<!-- box_32_gb_cores -->", known), "2<!-- box_32_gb_cores -->")
        # Each core more has a part of the mesh's bound, and leaves less.
        self.assertLess(pages._box(self.FIGURES, 4, 4)["box_4_gb"], known["box_4_gb"])

    def test_a_million_and_the_boxes_are_reckoned_by_one_rule(self):
        known = pages.reckon(self.FIGURES)
        with unittest.mock.patch.object(pages, "BOXES", ((known["million_gb"], 16),)):
            fits = pages.reckon(self.FIGURES)[f"box_{known['million_gb']}_gb"]
        self.assertAlmostEqual(fits, pages.MILLION, delta=10_000)
        page = (machine.ROOT / "tuning" / "README.md").read_text(encoding="utf-8")
        moving = re.search(r"^\| \*T\* \|.*\| ([\d,]+) bytes \|", page, re.MULTILINE)[1]
        self.assertEqual(int(moving.replace(",", "")), pages.MOVING_BYTES)
        together = re.search(r"So the box wants ([\d.]+)<.*?: (.*?) on their way", page)
        parts = re.findall(r"(?<![\w.])([\d.]+)(?=<| for)", together[2])
        self.assertEqual(len(parts), 5)
        self.assertAlmostEqual(sum(map(float, parts)), float(together[1]), delta=0.1)
        settings = (machine.ROOT / "tuning" / "settings.sh").read_text(encoding="utf-8")
        self.assertEqual(re.search(r"setting net.ipv4.tcp_mem (?:.*\n)*?need 2 'CONNECTIONS \* (\d)'", settings)[1],
                         str(pages.MOVING_BYTES // 4_096))

    def test_bounds_are_the_servers_defaults(self):
        source = (machine.ROOT / "src" / "config" / "section" / "engine.rs").read_text(encoding="utf-8")
        for name, value in (("outbox_total_bytes", pages.OUTBOX_BYTES), ("inbox_total_bytes", pages.INBOX_BYTES),
                            ("history_bytes", pages.HISTORY_BYTES), ("backlog_bytes", pages.BACKLOG_BYTES)):
            words = re.search(rf"^ +{name}: u64 = (.*?),", source, re.MULTILINE)[1]
            units = {"GIB": 1 << 30, "MIB": 1 << 20}
            default = math.prod(units.get(word) or int(word) for word in words.split(" * "))
            self.assertEqual(default, value, name)

    def test_each_box_has_the_cores_it_takes_and_names_what_is_to_be_raised(self):
        settings = (machine.ROOT / "tuning" / "settings.sh").read_text(encoding="utf-8")
        edge = (machine.ROOT / "src" / "config" / "section" / "edge.rs").read_text(encoding="utf-8")

        def allowed(name):
            profiles = rf"^setting {re.escape(name)} .*\n(?:profile 50k .*\n)?profile 1m (.*)"
            return [int(word) for word in re.search(profiles, settings, re.MULTILINE)[1].strip("'").split()]

        number = lambda cell: float(re.match("[\\d.,]+", cell)[0].replace(",", ""))
        page = (machine.ROOT / "tuning" / "README.md").read_text(encoding="utf-8")
        rows = [[cell.strip() for cell in row.strip("|").split("|")]
                for row in re.findall(r"^\| \d+ GB, .*$", page, re.MULTILINE)]
        self.assertEqual([row[0] for row in rows], [f"{memory_gb} GB, {cores}" for memory_gb, cores in pages.BOXES])
        for (_, cores), row in zip(pages.BOXES, rows, strict=True):
            connections, least, descriptors = number(row[2]), number(row[4]), number(row[5])
            self.assertLessEqual(least, cores, row)
            self.assertLessEqual(descriptors, allowed("limits.nofile")[0], row)
            wanted = {"admission.connections": connections > int(re.search(r"connections: u32 = ([\d_]+)", edge)[1]),
                      "fs.file-max": connections + cores * 256 > allowed("fs.file-max")[0],
                      "net.ipv4.tcp_mem": connections * 2 > allowed("net.ipv4.tcp_mem")[1],
                      "net.netfilter.nf_conntrack_max": connections > allowed("net.netfilter.nf_conntrack_max")[0]}
            named = set(re.findall(r"`([\w.-]+)`", row[6]))
            self.assertLessEqual({name for name, raised in wanted.items() if raised}, named, row)

    def test_nothing_is_reckoned_from_what_was_not_measured(self):
        self.assertEqual(pages.reckon({}), {})
        self.assertNotIn("box_4_gb", pages.reckon({"echo_us": 4.0}))


class Parsing(unittest.TestCase):
    HISTOGRAM = [f'x_bucket{{core="{core}",le="{bound}"}} {count}'
                 for core in (0, 1) for bound, count in (("0.001", 50), ("0.1", 99), ("+Inf", 100))]

    def test_quantiles_of_a_histogram_over_all_cores(self):
        self.assertEqual(process.quantile(self.HISTOGRAM, 0.5), 0.001)
        self.assertEqual(process.quantile(self.HISTOGRAM, 0.99), 0.1)
        earlier = [line.replace(" 99", " 50").replace(" 100", " 50") for line in self.HISTOGRAM]
        self.assertEqual(process.quantile(self.HISTOGRAM, 0.5, earlier), 0.1)

    def test_what_was_not_counted_is_no_figure(self):
        for lines, earlier in (self.HISTOGRAM, self.HISTOGRAM), ([], []), (["x_count 0"], []):
            self.assertRaises(process.Failed, process.quantile, lines, 0.99, earlier)
        page = io.BytesIO(b'# HELP a A.\na{core="0"} 1\na{core="1"} 2\n')
        with unittest.mock.patch("urllib.request.urlopen", lambda *_, **__: io.BytesIO(page.getvalue())):
            self.assertEqual(process.total(process.Server(1, 2, 3), "a"), 3)
            self.assertRaises(process.Failed, process.total, process.Server(1, 2, 3), "b")

    def test_commands_are_noted_once_whatever_the_port(self):
        journal.close()
        for port in 4001, 4002:
            journal.ran(["/a/b/ringroom", "--listen", f"127.0.0.1:{port}", "--header", f"Authorization: Bearer e.{port}.A",
                         "--json", f"/tmp/{port}"])
        journal.doubted("3 messages lost")
        self.assertEqual(journal.close(), (["ringroom --listen 127.0.0.1:PORT --header 'Authorization: Bearer TOKEN'"], ["3 messages lost"]))
        self.assertEqual(journal.close(), ([], []))

    def test_a_doubt_says_of_which_run_it_is(self):
        journal.close()
        with contextlib.redirect_stdout(io.StringIO()), journal.during("node ws, echo"):
            generator.alternate(2, {"ours": lambda: 1,
                                    "theirs": lambda: process.beside(journal.doubted, "3 messages lost")()})
        journal_closed = journal.close()[1]
        self.assertEqual(journal_closed, ["node ws, echo, theirs: 3 messages lost"])

    def test_the_file_that_a_command_names_is_shown_without_what_is_different_each_time(self):
        journal.close()
        for number in 1, 2:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "ringroom.toml"
                file.write_text(f'listen = ["127.0.0.1:{number}000"]\ntls = {{ key_file = "{folder}/key.pem" }}\n')
                journal.wrote(file)
        self.assertEqual(journal.close()[0], [
            '# ringroom.toml:\n#   listen = ["127.0.0.1:PORT"]\n#   tls = { key_file = "key.pem" }'])

    def test_the_call_of_a_publish_is_known_and_made_of_any_room(self):
        room = "p:{ZGVm.bG9hZC1hMS0w-_}"
        arguments = r'"1.ab" "7" "cd" "\x00\"~" "\\x\xffz" "0" "1" "2" "3" "0" "0"'
        line = f'1.5 [0 127.0.0.1:4] "EVALSHA" "5ha" "3" "{room}:s" "{room}:h" "{room}:c" {arguments}\n'
        words = nodes._words(line)
        self.assertTrue(nodes._is_publish(words))
        self.assertEqual(words[6:], ["1.ab", "7", "cd", "xx~", "xxxz", "0", "1", "2", "3", "0", "0"])
        self.assertFalse(nodes._is_publish(nodes._words(line.replace('"1.ab"', '""'))))
        self.assertFalse(nodes._is_publish(nodes._words('1.5 [0 lua] "SPUBLISH" "c" "x"')))
        script = (machine.ROOT / "src" / "bridge" / "script" / "publish.lua").read_text(encoding="utf-8")
        self.assertEqual(max(map(int, re.findall(r"ARGV\[(\d+)\]", script))), nodes.ARGUMENTS)
        other = nodes._anywhere(words)
        self.assertEqual(other[5], "p:{ZGVm.__rand_int__-_}:c")
        self.assertEqual([len(word) for word in other], [len(word) for word in words])
        self.assertEqual(other[6:], words[6:])

    def test_ratios_are_of_pairs(self):
        spread = model.Spread.ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0])
        self.assertEqual((spread.median, spread.low, spread.high), (2.0, 1.0, 3.0))


class Judging(unittest.TestCase):
    def test_a_server_with_time_to_spare_is_doubted(self):
        journal.close()
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(load.is_full(0.95))
            self.assertTrue(load.is_full(0.46, 0.5))
            self.assertFalse(load.is_full(0.67))
            self.assertFalse(load.is_full(0.44, 0.5))
        doubts = journal.close()[1]
        self.assertEqual(len(doubts), 2)
        self.assertIn("0.67 of the 1.00 CPUs", doubts[0])

    def test_a_server_that_died_of_its_load_has_not_recovered(self):
        calm = [{"at": float(at), "p99_us": 400, "received": 600} for at in range(1, 5)]
        over = [{"at": float(at), "p99_us": 900_000, "received": 9} for at in range(5, 17)]
        silent = [{"at": float(at), "p99_us": None, "received": 0} for at in range(17, 27)]
        self.assertGreater(load.recovery(calm + over + silent, 17.0), 5)
        self.assertRaises(process.Failed, load.recovery, silent[:4] + over, 17.0)
        again = [{"at": 19.0, "p99_us": 500, "received": 600}]
        self.assertEqual(load.recovery(calm + over + silent[:2] + again, 17.0), 2.0)

    def test_the_peak_is_looked_for_beyond_one_rate_that_brings_no_more(self):
        for brought, tried in (({1: 10, 2: 20, 4: 19, 8: 20}, 4), ({1: 10, 2: 9, 4: 20, 8: 39, 16: 38, 32: 10}, 6)):
            self.assertEqual(load.search(1, brought.get), brought)
            self.assertEqual(len(brought), tried)

    def test_less_offered_than_was_meant_is_doubted(self):
        journal.close()
        phase = {"measured": {"sent": 100, "unsent": 50}, "totals": {"sent": 900, "unsent": 0}, "seconds": 1.0}
        self.assertEqual(load.offered(phase), 150)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(load.is_offered(1.45, 1.5))
            self.assertFalse(load.is_offered(1.2, 1.5))
        self.assertEqual(journal.close()[1], ["1.20 times of what can be done was offered, and not 1.50 times"])

    def test_idle_connections_are_looked_at_from_one_heartbeat_to_the_next(self):
        edge = (machine.ROOT / "src" / "config" / "section" / "edge.rs").read_text(encoding="utf-8")
        default_ms = re.search(r"\binterval_ms: u64 = ([\d_]+)", edge)[1]
        self.assertEqual(FULL.heartbeat_seconds * 1000, int(default_ms))
        looked = []

        def held(_server, _count, seconds, heartbeats):
            looked.append(seconds)
            return connections.Held(0, 0, 0, 0, heartbeats)

        journal.close()
        with unittest.mock.patch.object(connections, "held", held), contextlib.redirect_stdout(io.StringIO()):
            for heartbeats in 1.0, 0.0, 2.0:
                connections._beating(FULL, None, 10, heartbeats=heartbeats)
        self.assertEqual(looked, [FULL.heartbeat_seconds] * 3)
        self.assertEqual(journal.close()[1], [f"{count} heartbeats of a connection fell into an interval of them"
                                              for count in ("0.00", "2.00")])


class Measuring(unittest.TestCase):
    """Sections that fail, hang or come late, in place of the real ones."""

    def measured(self, names, **sections):
        command, kept = load_command(), []
        command["EVERY"].update(sections)
        command["SECTIONS"].update(sections)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            taken = command["measure_all"](names, QUICK, lambda sections: kept.append(sorted(sections)))
        return taken, kept, said.getvalue()

    def test_what_fails_does_not_lose_the_others_and_is_tried_once_more(self):
        tries = []

        def broken(_scale):
            tries.append(1)
            if len(tries) < 2:
                raise process.Failed("this time")
            return model.Section("broken", "Broken", "")

        taken, kept, said = self.measured(["broken", "good"], broken=broken, good=good)
        self.assertEqual(sorted(taken), ["broken", "good"])
        self.assertEqual(kept, [["good"], ["broken", "good"]])
        self.assertIn("FAIL broken: Failed: this time", said)

    def test_what_hangs_is_given_up_and_leaves_no_process(self):
        left = []

        def hangs(_scale):
            with process._started(["sleep", "600"]) as sleeper:
                left.append(sleeper)
                process.beside(process.run, ["sleep", "600"])()

        command = load_command()
        command["EVERY"]["hangs"] = hangs
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertIsNone(command["measure"]("hangs", QUICK, 1))
        self.assertIn("it took too long", said.getvalue())
        self.assertIsNotNone(left[0].poll())
        self.assertEqual(process._running, set())


def as_described(command, measured):
    """Sections as if they had been taken of this source."""
    for section in measured:
        section.about = command["EVERY"][section.name].about_at(FULL)
    return measured


def good(_scale):
    return model.Section("good", "Good", "")


def claim_words():
    """What claims are called in the sections' source, with each value that a name may take."""
    for file in (HERE / "figures").glob("*.py"):
        for words in re.findall(r'section\.claim\(f?"([^"]+)"', file.read_text(encoding="utf-8")):
            for in_flight, name, count in itertools.product(("1", "16"), ("same core", "across cores"), "12"):
                yield words.replace("{in_flight}", in_flight).replace("{name}", name).replace("{count}", count)


class Commit(unittest.TestCase):
    def test_sources_that_differ_have_different_names_and_pages_are_no_source(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]

            def say(name, text):
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
                return machine.commit(root)

            subprocess.run([*git, "init", "-q"], check=True)
            say("src/main.rs", "one\n")
            say("loadgen/README.md", "1.00\n")
            subprocess.run([*git, "add", "-A"], check=True)
            subprocess.run([*git, "commit", "-qm", "first"], check=True)
            clean = machine.commit(root)
            self.assertRegex(clean, "^[0-9a-f]{12}$")
            self.assertEqual(say("loadgen/README.md", "1.01\n"), clean)
            self.assertEqual(say("notes.txt", "what is not measured"), clean)
            names = [say("src/main.rs", "two\n"), say("src/main.rs", "three\n"), say("src/new.rs", "four\n"),
                     say("src/new.rs", "five\n")]
            for name in names:
                self.assertRegex(name, f"^{clean} with local changes [0-9a-f]{{8}}$")
            self.assertEqual(len(set(names)), 4)
            self.assertEqual(machine.commit(root), names[-1])
            (root / "src/new.rs").unlink()
            self.assertEqual(say("src/main.rs", "one\n"), clean)


def unknown_commits(root, report):
    """Commits that a report cites and that HEAD does not descend from; nothing where the history is not there to tell."""
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False)

    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        return None
    cited = set(re.findall(r"^Taken [\d-]+, commit (\w+)", report, re.MULTILINE))
    return sorted(commit for commit in cited if git("merge-base", "--is-ancestor", commit, "HEAD").returncode)


class Cited(unittest.TestCase):
    def test_each_commit_of_the_report_is_in_the_history(self):
        unknown = unknown_commits(machine.ROOT, (machine.ROOT / "benches" / "REPORT.md").read_text(encoding="utf-8"))
        if unknown is None:
            skip_loudly(self, "whether the commits of benches/REPORT.md exist: the history is not here")
        self.assertEqual(unknown, [], "to be measured anew: nobody can have the source that this was taken of")

    def test_a_commit_that_was_replaced_is_found_and_one_with_local_changes_is_not(self):
        with tempfile.TemporaryDirectory() as folder:
            git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
            cite = lambda commit: f"Of it.\n\nTaken 2026-01-02, commit {commit}, kernel 6.18.0, in 61 s.\n"
            self.assertIsNone(unknown_commits(folder, cite("unknown")))
            subprocess.run([*git, "init", "-q"], check=True)
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
            measured = machine.commit(Path(folder))
            report = cite(f"{measured} with local changes 01234567")
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "what was measured"], check=True)
            self.assertEqual(unknown_commits(folder, report), [])
            subprocess.run([*git, "checkout", "-q", "--orphan", "other"], check=True)
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "anew"], check=True)
            self.assertEqual(unknown_commits(folder, report), [measured])
            self.assertEqual(unknown_commits(folder, cite("unknown")), ["unknown"])
            clone = Path(folder) / "clone"
            subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{folder}", clone], check=True)
            self.assertIsNone(unknown_commits(clone, report))


def skip_loudly(test, reason):
    """Skips a test so that it is told where all of the tests run."""
    if skips := os.environ.get("SKIPS_FILE"):
        with open(skips, "a", encoding="utf-8") as lines:
            lines.write(f"report: {reason}\n")
    test.skipTest(reason)


class Writing(unittest.TestCase):
    def written(self, command, folder, measured, other_pages=()):
        command["write"](folder, {section.name: section for section in measured}, other_pages, FULL)
        return (folder / "REPORT.md").read_text(encoding="utf-8")

    def test_what_is_measured_otherwise_now_is_stored_and_not_shown(self):
        command = load_command()
        with tempfile.TemporaryDirectory() as folder:
            folder, measured = Path(folder), as_described(command, sections())
            measured[0].about = "Another room, for a shorter time."
            page = folder / "page.md"
            page.write_text("—<!-- echo_us -->", encoding="utf-8")
            report = self.written(command, folder, measured, [page])
            self.assertIn("**To be measured anew, since what is measured has changed:** `echo`.", report)
            self.assertNotIn("times bare epoll", report)
            self.assertFalse((folder / "charts" / "sample.svg").exists())
            self.assertEqual(page.read_text(encoding="utf-8"), "—<!-- echo_us -->")
            self.assertEqual(command["stored"](folder / "results.json")["echo"].about, measured[0].about)

    def test_a_run_replaces_its_sections_and_keeps_the_others(self):
        command = load_command()
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            page = folder / "page.md"
            page.write_text("—<!-- echo_us -->", encoding="utf-8")
            self.written(command, folder, as_described(command, sections()), [page])
            kept = command["stored"](folder / "results.json")
            self.assertEqual(list(kept), ["echo", "storm", "peers"])
            self.assertTrue((folder / "charts" / "sample.svg").exists())
            self.assertEqual(page.read_text(encoding="utf-8"), "4.46<!-- echo_us -->")
            report = (folder / "REPORT.md").read_text(encoding="utf-8")
            unmeasured = re.search(r"\*\*Never measured:\*\* (.*)\.", report)[1]
            self.assertEqual(set(re.findall(r"`([\w-]+)`", unmeasured)),
                             set(command["EVERY"]) - {"echo", "storm", "peers"})


def load_command():
    """The names of the report's command, which is no module that can be imported by name."""
    return runpy.run_path(str(HERE / "__main__.py"), run_name="report")


if __name__ == "__main__":
    unittest.main()
