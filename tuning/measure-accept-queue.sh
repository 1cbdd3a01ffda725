#!/usr/bin/env bash
# Measures what net.core.somaxconn does when many connect at once: the server in a network namespace
# of its own, COUNT connections opened in one go by one client, for each queue length in turn.
# Changes nothing outside the namespace; needs root.
#
#   tuning/measure-accept-queue.sh RINGROOM [COUNT [ROUNDS]]
set -euo pipefail

if [ "${4:-}" != inside ]; then
  exec unshare --net --mount "$0" "${1:?the binary}" "${2:-4000}" "${3:-3}" inside
fi
# The client has a descriptor for each.
ulimit -Sn "$(ulimit -Hn)"
ip link set lo up
server=''
stop() { [ -z "$server" ] || { kill "$server"; kill "$server" || true; wait "$server" || true; server=''; } 2>/dev/null; }
trap stop EXIT

client() {
  python3 - "$1" <<'PYTHON'
import selectors, socket, sys, time

count, connections = int(sys.argv[1]), []
selector, started = selectors.DefaultSelector(), time.monotonic()
for _ in range(count):
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", 8000))
    selector.register(connection, selectors.EVENT_READ, None)
    connection_request = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    selector.modify(connection, selectors.EVENT_WRITE, connection_request)
    connections.append(connection)
answered = 0
while answered < count and time.monotonic() - started < 30:
    for key, events in selector.select(1):
        if events & selectors.EVENT_WRITE:
            key.fileobj.send(key.data)
            selector.modify(key.fileobj, selectors.EVENT_READ, None)
        else:
            assert key.fileobj.recv(4096).startswith(b"HTTP/1.1 101"), "refused"
            selector.unregister(key.fileobj)
            answered += 1
print(f"{answered} of {count} answered in {time.monotonic() - started:.2f} s")
PYTHON
}

overflows() { awk '/^TcpExt:/ && !names { split($0, name); names = 1; next } /^TcpExt:/ { for (i = 1; i <= NF; i++) if (name[i] == "ListenOverflows") print $i }' /proc/net/netstat; }

for round in $(seq "$3"); do
  for length in 128 4096; do
    sysctl -qw net.core.somaxconn=$length
    "$1" --listen 127.0.0.1:8000 --control 127.0.0.1:8001 >/dev/null 2>&1 &
    server=$!
    sleep 0.5
    before=$(overflows)
    result=$(client "$2")
    printf 'round %s, somaxconn %4s: %s, %s overflows of the queue\n' "$round" $length "$result" $(($(overflows) - before))
    stop
    sleep 0.2
  done
done
