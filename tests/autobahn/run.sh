#!/usr/bin/env bash
# The Autobahn testsuite against /echo.
#
#   tests/autobahn/run.sh --short               every section in part on io_uring, a few cases on epoll and TLS
#   tests/autobahn/run.sh --full                all 517 cases on io_uring, on epoll and over TLS
#   tests/autobahn/run.sh --full uring|epoll|tls…   on some of them
#
# No case may fail or be non-strict. Reports for people: tests/.tools/autobahn/report-*/index.html.
# The suite needs Python 2.7: one on the PATH, or of pyenv. Without it this is a skip (exit code 77).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/server.sh

HERE=tests/autobahn
WORK="$TOOLS/autobahn"
ALL_CASES=517
FORM=--short
TRANSPORTS=()

EVERY_SECTION=(
  '1.*' '2.*' '3.*' '4.*' '5.*'
  '6.1.*' '6.2.*' '6.3.*' '6.4.*' '6.12.*' '6.21.*' '6.23.*'
  '7.1.*' '7.3.*' '7.5.*' '7.7.*' '7.9.*' '7.13.*'
  9.1.1 9.2.1 9.3.5 9.4.5 9.5.4 9.6.4 9.7.1 9.8.1 '10.*'
  12.1.1 12.1.5 12.2.3 12.3.4 12.4.5 12.5.6
  13.1.1 13.2.5 13.3.3 13.4.4 13.5.3 13.6.4 13.7.5
)
A_FEW=(1.1.6 1.2.6 2.4 3.3 4.1.1 5.6 5.19 6.4.1 6.4.3 7.1.1 7.3.3 7.5.1 10.1.1 12.1.5 13.3.3)

# A Python 2.7 that runs: the shims of pyenv exist where no version is chosen, and fail.
python27() {
  local candidate
  for candidate in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

install_suite() {
  [ -e "$WORK/installed" ] && return 0
  local python
  if ! python=$(python27); then
    printf '!! No Python 2.7 on the PATH or in pyenv, which the Autobahn testsuite needs.\n' >&2
    printf '!! Install one with: pyenv install 2.7.18\n' >&2
    exit "$SKIP"
  fi
  mkdir -p "$WORK"
  # The last virtualenv that makes environments of Python 2.7.
  python3 -m venv "$WORK/host"
  "$WORK/host/bin/pip" install --quiet virtualenv==20.21.1
  "$WORK/host/bin/virtualenv" --quiet --python "$python" "$WORK/suite"
  "$WORK/suite/bin/pip" install --quiet --requirement "$HERE/requirements.txt" 2>&1 |
    grep -v DEPRECATION || true
  "$WORK/suite/bin/wstest" --help >/dev/null
  touch "$WORK/installed"
}

serve() {
  case $1 in
    uring | epoll) start_server "autobahn-$1" --listen "$ANY_PORT" --config "$HERE/server.toml" --driver "$1" ;;
    tls) serve_tls ;;
    *) printf 'no such transport: %s\n' "$1" >&2; exit 2 ;;
  esac
}

serve_tls() {
  command -v openssl >/dev/null || { printf 'missing: openssl\n' >&2; exit 1; }
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/certificate.pem" 2>/dev/null
  {
    cat "$HERE/server.toml"
    printf '\n[[listener]]\naddress = "127.0.0.1:0"\n'
    printf 'tls.certificate_file = "%s"\ntls.key_file = "%s"\n' "$WORK/certificate.pem" "$WORK/key.pem"
  } >"$WORK/tls.toml"
  start_server autobahn-tls --config "$WORK/tls.toml"
}

# transport, expected number of cases (0: as many as there are), patterns
drive() {
  local transport=$1 expected=$2 scheme=ws
  shift 2
  [ "$transport" != tls ] || scheme=wss
  local report="$WORK/report-$transport" cases
  rm -rf "$report"
  serve "$transport"
  cases=$(printf '"%s",' "$@")
  printf '{"outdir": "%s", "servers": [{"agent": "%s", "url": "%s://%s/echo"}], "cases": [%s], "exclude-cases": [], "exclude-agent-cases": {}}\n' \
    "$report" "$transport" "$scheme" "$SERVER_ADDRESS" "${cases%,}" >"$WORK/$transport.json"
  "$WORK/suite/bin/wstest" --mode fuzzingclient --spec "$WORK/$transport.json" \
    >"$TOOLS/log/autobahn-$transport.suite" 2>&1
  python3 "$HERE/judge.py" "$report/index.json" "$transport" "$expected" \
    $([ "$expected" != 0 ] || printf '%s\n' "$@")
}

for argument in "$@"; do
  case $argument in
    --short | --full) FORM=$argument ;;
    *) TRANSPORTS+=("$argument") ;;
  esac
done
[ ${#TRANSPORTS[@]} -gt 0 ] || TRANSPORTS=(uring epoll tls)

install_suite
build_server
failed=0
for transport in "${TRANSPORTS[@]}"; do
  if [ "$FORM" = --full ]; then
    drive "$transport" "$ALL_CASES" '*' || failed=1
  elif [ "$transport" = uring ]; then
    drive "$transport" 0 "${EVERY_SECTION[@]}" || failed=1
  else
    drive "$transport" 0 "${A_FEW[@]}" || failed=1
  fi
done
exit $failed
