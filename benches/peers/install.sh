#!/usr/bin/env bash
# Installs the servers that ours is measured beside, each at the version written here, from the
# registries. What cannot be had is said and left out; the rest is measured without it.
#
#   benches/peers/install.sh          all of them
#   benches/peers/install.sh NAME…    some: node rust python nchan sockudo
set -uo pipefail
cd "$(dirname "$0")" || exit

PEERS=(node rust python nchan sockudo)
SOCKUDO=5.2.0
INSTALLED="$PWD/../../target/peers"

node() {
  command -v npm >/dev/null || { echo "npm is missing: apt-get install nodejs npm"; return 1; }
  # With npm's scripts, because bufferutil builds its native part in one.
  (cd node && npm ci --no-audit --no-fund --loglevel=error)
}

rust() {
  (cd rust && CARGO_TARGET_DIR="$INSTALLED/target" cargo build --release --locked --quiet)
}

python() {
  command -v python3 >/dev/null || { echo "python3 is missing: apt-get install python3-venv"; return 1; }
  python3 -m venv "$INSTALLED/python" &&
    "$INSTALLED/python/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt
}

# Debian packages, where this user may.
packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing; install with: apt-get install $*"
    return 1
  fi
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

nchan() {
  [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || packages nginx libnginx-mod-nchan
}

sockudo() {
  [ -e /usr/include/google/protobuf/timestamp.proto ] || packages protobuf-compiler libprotobuf-dev || return 1
  CARGO_TARGET_DIR="$INSTALLED/sockudo-target" cargo install --quiet --locked --root "$INSTALLED" \
    --no-default-features --features local "sockudo@$SOCKUDO"
}

main() {
  local names=("$@") name missing=()
  [ ${#names[@]} -gt 0 ] || names=("${PEERS[@]}")
  mkdir -p "$INSTALLED"
  for name in "${names[@]}"; do
    [[ " ${PEERS[*]} " == *" $name "* ]] || { echo "no peer $name; there are ${PEERS[*]}" >&2; exit 2; }
    printf '== %s\n' "$name"
    "$name" || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] || { printf 'not installed: %s\n' "${missing[*]}" >&2; exit 1; }
}

main "$@"
