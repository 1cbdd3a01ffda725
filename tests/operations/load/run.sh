#!/usr/bin/env bash
# What holds under load: timers, fairness, goodput, latencies, two cores, deflate, memory.
#
#   tests/operations/load/run.sh --short   the rows that are done in seconds; about two minutes
#   tests/operations/load/run.sh --long    all of them, and the delivery checker with two thousand
#                                          connections; about a quarter of an hour
#
# The figures are sections of benches/report, which prints each with its target. They mean something
# on a machine that does nothing else, with two CPUs at least.
set -euo pipefail
cd "$(dirname "$0")/../../.."

FORM=${1:---short}
cargo build --quiet --release --workspace
case $FORM in
  --short) python3 benches/report overload fairness goodput ;;
  --long)
    cargo test --quiet --test delivery -- --ignored --nocapture
    python3 benches/report kinds rooms overload fairness goodput latency cores deflated
    ;;
  *) sed -n '4,6p' "$0" | cut -c3- >&2; exit 2 ;;
esac
