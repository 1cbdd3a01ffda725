#!/usr/bin/env bash
# The server under valgrind's memcheck, on epoll, while it is used as it is by clients: rooms, both
# codecs, deflate, TLS, connections that come and go, are cut and come back; settings that are read
# again, and a drain. Nothing may be found, and nothing definitely lost.
#
#   tests/memcheck.sh           seconds of each
#   tests/memcheck.sh --long    a minute of each
#
# valgrind knows no io_uring: what only the ring does is not in it, its driver is monoio's own.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/server.sh

SECONDS_EACH=3
case ${1:-} in
  '' | --short) ;;
  --long) SECONDS_EACH=60 ;;
  *) sed -n '6,7p' "$0" | cut -c3- >&2; exit 2 ;;
esac
if ! command -v valgrind >/dev/null; then
  printf '!! SKIPPED: there is no valgrind on the PATH\n' >&2
  exit "$SKIP"
fi
# What valgrind exits with when it has found something; the server never does.
FOUND=99
WORK="$TOOLS/memcheck"
REPORT="$WORK/report"
# Another generator, as SERVER_BINARY is another server.
: "${LOADGEN:=}"

build_server
if [ -z "$LOADGEN" ]; then
  cargo build --quiet -p ringroom-loadgen
  LOADGEN=target/debug/ringroom-loadgen
fi
mkdir -p "$WORK"

{
  cat tests/memcheck.supp
  for part in $(seq 0 63); do
    printf '{\n  part-%s\n  Memcheck:Param\n  sendmsg(msg.msg_iov[%s])\n  ...\n  fun:*rustls*write_tls*\n  ...\n}\n' \
      "$part" "$part"
  done
} >"$WORK/suppressions"

# The server, as the script beside this one starts it.
cat >"$WORK/server" <<EOF
#!/bin/sh
exec valgrind --tool=memcheck --error-exitcode=$FOUND --leak-check=full --show-leak-kinds=definite \\
  --errors-for-leak-kinds=definite --fair-sched=yes --num-callers=60 --suppressions="$WORK/suppressions" \\
  --log-file="$REPORT" \\
  "$SERVER_BINARY" "\$@"
EOF
chmod +x "$WORK/server"
SERVER_BINARY="$WORK/server"
START_TRIES=2400

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=IP:127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/certificate.pem" 2>/dev/null
cat >"$WORK/server.toml" <<EOF
listen = ["127.0.0.1:0"]
[[listener]]
address = "127.0.0.1:0"
tls.certificate_file = "$WORK/certificate.pem"
tls.key_file = "$WORK/key.pem"
[rooms]
history_size = 1000
[handshake]
deadline_ms = 60000
[drain]
window_ms = 500
[admission]
connections_per_ip = 0
[dev]
echo = true
EOF
start_server memcheck --config "$WORK/server.toml" --driver epoll --cores 2
PLAIN="ws://$SERVER_ADDRESS"
SECURE=$(sed -n 's|^ringroom serves on https://\([^/]*\)/.*|wss://\1|p' "$TOOLS/log/memcheck.out")

failed=()
# A server under valgrind is slow: the generator's doubts are shown, and are no failures; that it was
# hardly used is one.
load() {
  printf -- '-- %s\n' "$*"
  "$LOADGEN" "$@" --seconds "$SECONDS_EACH" --quiet --lateness-max-ms 60000 --server-pid "$SERVER_PID" \
    --threads 1 --connect-timeout 60 --drain 10 >"$WORK/load" || true
  sed -n -e '/^  connections/p' -e '/^  messages/p' -e '/^INVALID/,$p' "$WORK/load"
}

# The sum of a figure of the server.
figure() { curl -sf "http://$SERVER_CONTROL/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'; }
load chat --url "$PLAIN/ws" --deflate --rooms 4 --members 8 --publishers 2 --rate 4 --size 3000 --commands 20
load chat --url "$SECURE/ws" --insecure --dialect ringroom-msgpack --rooms 4 --members 8 --publishers 2 \
  --rate 4 --size 3000 --commands 20
load resume --url "$SECURE/ws" --insecure --deflate --rooms 2 --members 8 --rate 5 --cuts 5 --by session
load echo --url "$PLAIN/echo" --deflate --dialect raw -n 8 --rate 40 --size 20000
kill -HUP "$SERVER_PID"
load churn --url "$SECURE/ws" --insecure -n 20 --rate 10
for used in messages_in_total messages_out_total handshakes_total deflate_messages_total inflate_messages_total; do
  count=$(figure "ringroom_$used")
  printf -- '-- %s: %s\n' "$used" "$count"
  [ "$count" -ge 10 ] || failed+=("$used: $count")
done
# Some are still there when it ends.
"$LOADGEN" --quiet hold -n 10 --members 5 --seconds 30 --url "$PLAIN/ws" >/dev/null 2>&1 &
holding=$!
sleep 2
kill -TERM "$SERVER_PID"
code=0
wait "$SERVER_PID" || code=$?
wait "$holding" || true
grep -E 'ERROR SUMMARY|definitely lost' "$REPORT" || true
if [ "$code" = "$FOUND" ]; then
  cat "$REPORT" >&2
elif [ "$code" != 0 ]; then
  cat "$TOOLS/log/memcheck.err" >&2
fi
[ "$code" = 0 ] || failed+=("the server ended with $code")
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
