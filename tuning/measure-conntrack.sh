#!/usr/bin/env bash
# Measures what connection tracking costs the server for each message, and that `--with notrack`
# takes it off the path: echoes in a network namespace with a firewall that tracks, with the bypass
# and without in turn. Server and generator on a CPU each. Changes nothing outside; needs root.
#
#   tuning/measure-conntrack.sh RINGROOM RINGROOM-LOADGEN [ROUNDS]
set -euo pipefail

if [ "${4:-}" != inside ]; then
  exec unshare --net --mount "$0" "${1:?the server}" "${2:?the generator}" "${3:-5}" inside
fi
here=$(dirname "$0")
work=$(mktemp -d)
ip link set lo up
# What makes the kernel track: a rule that asks for the state of a connection.
nft 'add table inet firewall
  add chain inet firewall incoming { type filter hook input priority 0; }
  add rule inet firewall incoming ct state established counter'

taskset -c 0 "$1" --listen 127.0.0.1:8000 --control 127.0.0.1:8001 --cores 1 --set dev.echo=true \
  --set admission.connections_per_ip=0 >/dev/null 2>&1 &
server=$!
trap '{ kill $server; kill $server || true; wait $server || true; rm -r "$work"; } 2>/dev/null' EXIT
sleep 1

cpu_ns() { cat /proc/$server/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

echoes() {
  local before
  before=$(cpu_ns)
  "$2" echo -n 200 --seconds 3 --in-flight 1 --dialect raw-binary --cpus 1 \
    --url ws://127.0.0.1:8000/echo --json "$work/report" >/dev/null 2>&1 || true
  received=$(grep -o '"received": *[0-9]*' "$work/report" | head -1 | grep -o '[0-9]*$')
  echo "$1: $((($(cpu_ns) - before) / received)) ns of server CPU a message, $(cat /proc/sys/net/netfilter/nf_conntrack_count) tracked"
}

for round in $(seq "$3"); do
  echoes "round $round, tracked" "$2"
  "$here/apply.sh" --only 'conntrack.*' --with notrack --ports 8000 --state "$work/state" >/dev/null
  echoes "round $round, bypass " "$2"
  "$here/revert.sh" --state "$work/state" >/dev/null
done
