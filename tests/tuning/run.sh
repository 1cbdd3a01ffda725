#!/usr/bin/env bash
# Tests tuning/: the scripts on a made-up host and in a network namespace, and everything under
# deploy/ that can be checked here.
#
#   tests/tuning/run.sh [--no-install] [MODULE…]     scripts probe deploy proxies
#
# Changes no setting of this machine. Installs from Debian what is missing if it runs as root; else,
# or with --no-install, it says what to install and ends with 77.
set -euo pipefail
cd "$(dirname "$0")/../.."

SKIP=77
INSTALL=yes
MODULES=()
# Debian's own, for which its packages are.
PYTHON=/usr/bin/python3

# COMMAND PACKAGE
NEEDED='shellcheck shellcheck
nginx nginx
haproxy haproxy
openssl openssl
promtool prometheus
redis-server redis-server
systemd-analyze systemd
perl perl-base
ip iproute2
python3 python3
nft nftables'

missing_packages() {
  local command package
  while read -r command package; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || echo "$package"
  done <<<"$NEEDED"
  "$PYTHON" -c 'import yaml' 2>/dev/null || echo python3-yaml
  "$PYTHON" -c 'import seccomp' 2>/dev/null || echo python3-seccomp
  [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || echo libnginx-mod-stream
}

install_missing() {
  local packages
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ $INSTALL = no ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing; install with: apt-get install ${packages[*]}" >&2
    exit $SKIP
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

for argument in "$@"; do
  case $argument in
    --no-install) INSTALL=no ;;
    -h | --help) sed -n '2,8p' "$0" | cut -c3-; exit 0 ;;
    *) MODULES+=("test_$argument") ;;
  esac
done
[ ${#MODULES[@]} -gt 0 ] || MODULES=(test_scripts test_probe test_deploy test_proxies)

install_missing
# Another binary than the one that is built here, such as one of a release.
if [ -z "${SERVER_BINARY:-}" ]; then
  cargo build --quiet --bin ringroom
  SERVER_BINARY=$PWD/target/debug/ringroom
fi
export SERVER_BINARY PATH=$PATH:/usr/sbin:/sbin
# What is skipped is counted where all of the tests run.
COUNTED='
import os, sys, unittest
result = unittest.main(module=None, argv=["tuning", *sys.argv[1:]], exit=False).result
if skips := os.environ.get("SKIPS_FILE"):
    with open(skips, "a") as lines:
        lines.writelines(f"tuning: {test.id()}: {reason}\n" for test, reason in result.skipped)
sys.exit(not result.wasSuccessful())
'
cd tests/tuning
"$PYTHON" -B -c "$COUNTED" -v "${MODULES[@]}"
