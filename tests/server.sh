# Starts the real server for a script: `. tests/server.sh`, then `start_server NAME ARGUMENT…`, where
# `--listen "$ANY_PORT"` takes a port of the kernel's choice. Where it came to listen is then in
# SERVER_ADDRESS and SERVER_CONTROL, its process in SERVER_PID. It ends with the script.

: "${TOOLS:=$PWD/tests/.tools}"
# Another binary than the one that is built here, such as one of a release.
: "${SERVER_BINARY:=}"

# How often it is looked whether it serves, twenty times a second.
: "${START_TRIES:=200}"

# What a script exits with when this machine cannot run it; it has said why.
SKIP=77

# shellcheck disable=SC2034 # for the script that sources this
ANY_PORT=127.0.0.1:0

SERVERS=()
trap 'stop_servers' EXIT

build_server() {
  [ -z "$SERVER_BINARY" ] || return 0
  cargo build --quiet --bin ringroom
  SERVER_BINARY="$PWD/target/debug/ringroom"
}

start_server() {
  local log="$TOOLS/log/$1"
  shift
  mkdir -p "$TOOLS/log"
  "$SERVER_BINARY" serve --control 127.0.0.1:0 "$@" >"$log.out" 2>"$log.err" &
  SERVER_PID=$!
  SERVERS+=("$SERVER_PID")
  for _ in $(seq "$START_TRIES"); do
    grep -q '^Control plane' "$log.out" && break
    kill -0 "$SERVER_PID" 2>/dev/null || { cat "$log.err" >&2; exit 1; }
    sleep 0.05
  done
  # shellcheck disable=SC2034
  SERVER_ADDRESS=$(sed -n 's|^ringroom serves on https\?://\([^/]*\)/.*|\1|p' "$log.out" | head -1)
  # shellcheck disable=SC2034
  SERVER_CONTROL=$(sed -n 's|^Control plane: http://\([^/]*\)/.*|\1|p' "$log.out")
  [ -n "$SERVER_ADDRESS" ] || { cat "$log.out" "$log.err" >&2; exit 1; }
}

stop_servers() {
  for pid in "${SERVERS[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
}
