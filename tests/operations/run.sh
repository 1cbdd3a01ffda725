#!/usr/bin/env bash
# What an operator will meet, with figures: faults, drains, hot restarts, abuse.
#
#   tests/operations/run.sh --short   about a minute, as in CI
#   tests/operations/run.sh --long    with thousands of clients, a hundred restarts, and the figures
#                                     of load/run.sh --long
#
# Another binary, such as a release: SERVER_BINARY=target/release/ringroom.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/server.sh

FORM=${1:---short}
build_server
export SERVER_BINARY
failed=()
for script in faults drain restart abuse vanish herd rooms uring; do
  printf -- '-- %s\n' "$script"
  status=0
  python3 "tests/operations/$script.py" "$FORM" || status=$?
  # A skip has said why, and is counted.
  [ "$status" -eq 0 ] || [ "$status" -eq "$SKIP" ] || failed+=("$script")
done
if [ "$FORM" = --long ]; then
  printf -- '-- load\n'
  tests/operations/load/run.sh --long || failed+=(load)
fi
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[*]}" >&2; exit 1; }
