#!/usr/bin/env bash
# Measures what an idle connection costs the kernel: COUNT WebSockets held by one server and one
# client in a network namespace, and how many objects of each kind (/proc/slabinfo) that adds for
# each connection. Both ends are here, so a server alone has half of TCP, sock_inode_cache, filp and
# dentry. Other programs allocate too: what changes by less than a twentieth of an object is left
# out. Needs root.
#
#   tuning/measure-socket-memory.sh RINGROOM [COUNT]
set -euo pipefail

if [ "${3:-}" != inside ]; then
  exec unshare --net --mount "$0" "${1:?the binary}" "${2:-8000}" inside
fi
# The client has a descriptor for each.
ulimit -Sn "$(ulimit -Hn)"
ip link set lo up
sysctl -qw net.core.somaxconn=4096 net.ipv4.ip_local_port_range='1024 65535'
"$1" --listen 127.0.0.1:8000 --control 127.0.0.1:8001 >/dev/null 2>&1 &
server=$!
trap '{ kill $server; kill $server || true; wait $server || true; } 2>/dev/null' EXIT
sleep 0.5

python3 - "$2" "$server" <<'PYTHON'
import socket, sys, time

count, server = int(sys.argv[1]), sys.argv[2]
REQUEST = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

def slabs():
    with open("/proc/slabinfo") as table:
        rows = [line.split() for line in table if not line.startswith(("slabinfo", "#"))]
    return {row[0]: (int(row[1]), int(row[3])) for row in rows}

def resident():
    with open(f"/proc/{server}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

def connect():
    connection = socket.create_connection(("127.0.0.1", 8000))
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 101")
    return connection

warm = [connect() for _ in range(100)]
before, resident_before = slabs(), resident()
held = [connect() for _ in range(count)]
time.sleep(3)
after, resident_after = slabs(), resident()
total = 0
for name, (objects, size) in sorted(after.items()):
    each = (objects - before.get(name, (0, 0))[0]) / count
    if abs(each) >= 0.05:
        total += each * size
        print(f"{name:24} {each:6.2f} objects of {size:5} bytes")
print(f"kernel, both ends        {total:.0f} bytes a connection")
print(f"process, resident        {(resident_after - resident_before) / count:.0f} bytes a connection")
with open("/proc/net/sockstat") as sockstat:
    print(next(line.strip() for line in sockstat if line.startswith("TCP")))
PYTHON
