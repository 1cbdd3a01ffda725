#!/usr/bin/env bash
# Real clients against a real server: node's ws, Python's websockets and aiohttp, and Chromium on the
# page, all with compression; websocat, which knows none, and curl.
#
#   tests/clients/run.sh [node|python|websocat|curl|chromium]…
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/server.sh

HERE="$PWD/tests/clients"
WORK="$TOOLS/clients"

install_node() {
  [ -e "$WORK/node_modules/ws" ] && return 0
  cp "$HERE/package.json" "$WORK/"
  npm install --prefix "$WORK" --silent --no-audit --no-fund
}

install_python() {
  [ -e "$WORK/python/installed" ] && return 0
  python3 -m venv "$WORK/python"
  "$WORK/python/bin/pip" install --quiet --disable-pip-version-check \
    --requirement "$HERE/requirements.txt"
  touch "$WORK/python/installed"
}

node_script() {
  install_node
  # Modules are found from where the script is.
  cp "$HERE"/*.mjs "$WORK/"
  node "$WORK/$1" "$SERVER_ADDRESS"
}

node_client() { node_script node.mjs; }

python_client() {
  install_python
  "$WORK/python/bin/python" "$HERE/python.py" "$SERVER_ADDRESS"
}

websocat_client() {
  local said
  said=$(printf 'hello\n' | timeout 20 websocat --one-message "ws://$SERVER_ADDRESS/echo")
  [ "$said" = hello ] || { printf 'websocat: %q\n' "$said" >&2; return 1; }
  printf 'websocat: an echo\n'
}

curl_client() {
  local base="http://$SERVER_ADDRESS" head
  curl --silent --fail "$base/" | grep -q '<title>Ringroom' || return 1
  curl --silent --fail "$base/ready" "$base/live" >/dev/null
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$base/ws")" = 426 ]
  # It has no end of its own.
  head=$(curl --silent --include --no-buffer --max-time 2 --http1.1 \
    -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$base/echo" || true)
  grep -q '^HTTP/1.1 101' <<<"$head" && grep -qi 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' <<<"$head"
  printf 'curl: the page, the probes, an upgrade\n'
}

chromium_client() { node_script chromium.mjs; }

mkdir -p "$WORK"
build_server
start_server clients --listen "$ANY_PORT" --set dev.echo=true --set cores.count=2
[ $# -gt 0 ] || set -- node python websocat curl chromium
failed=()
for client in "$@"; do
  # In a shell of its own, and not in a condition, where bash would go on after what fails.
  set +e
  (trap - EXIT; set -e; "${client}_client")
  [ $? = 0 ] || failed+=("$client")
  set -e
done
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[*]}" >&2; exit 1; }
