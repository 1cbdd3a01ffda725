#!/usr/bin/env bash
# Installs what the tests need and is missing, then runs them all. One command, on a fresh machine.
#
#   tests/run.sh              everything that CI runs
#   tests/run.sh --no-install the same, but says what is missing instead of installing it
#   tests/run.sh STEP…        only those steps (see the list below)
#
# Each step is a function of its own; it prints what it does and fails loudly. Long forms of the
# suites are scripts beside this one, named in the README.
set -euo pipefail
cd "$(dirname "$0")/.."

STEPS=(format lint deny unit docs report instructions clients autobahn fuzz operations tuning)
TOOLS="$PWD/tests/.tools"
INSTALL=yes
# A line for all that is skipped: the steps' scripts add theirs.
export SKIPS_FILE="$TOOLS/skips"

# What a step's script exits with when this machine cannot run it; it has said why.
SKIP=77

say() { printf '\n== %s\n' "$*"; }

skip() {
  printf '%s\n' "$*" >>"$SKIPS_FILE"
  printf '!! SKIPPED: %s\n' "$*" >&2
}

# A Debian package, unless the command behind it succeeds.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 && return 0
  if [ "$INSTALL" = no ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    printf 'missing: %s. Install it with: apt-get install %s\n' "$package" "$package" >&2
    return 1
  fi
  if [ ! -e "$TOOLS/apt-updated" ]; then
    apt-get update -qq
    touch "$TOOLS/apt-updated"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

# A Debian package for a program that is missing; what only the shell has is none.
need_command() { need "$2" type -P "$1"; }

# Debian's Python makes no environments by itself.
need_venv() {
  need_command python3 python3
  need python3-venv python3 -c 'import ensurepip, venv'
}

# Installs a program from crates.io. It has little to do here: what counts is how soon it is built.
install_cargo() { CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug "$1"; }

# A program from crates.io that is missing.
need_cargo() {
  local command=$1 crate=$2
  command -v "$command" >/dev/null 2>&1 && return 0
  if [ "$INSTALL" = no ]; then
    printf 'missing: %s. Install it with: cargo install --locked %s\n' "$command" "$crate" >&2
    return 1
  fi
  install_cargo "$crate"
}

# The other half of the crate that counts instructions, of just its version.
need_runner() {
  gungraun-runner --version 2>/dev/null | grep -qF "$1" && return 0
  if [ "$INSTALL" = no ]; then
    printf 'missing: gungraun-runner. Install it with: cargo install --locked gungraun-runner@%s\n' "$1" >&2
    return 1
  fi
  install_cargo "gungraun-runner@$1"
}

# It is built against the machine's OpenSSL.
need_websocat() {
  type -P websocat >/dev/null && return 0
  need_command pkg-config pkg-config
  need libssl-dev pkg-config --exists openssl
  need_cargo websocat websocat
}

format() { cargo fmt --all --check; }

lint() {
  # A planted bug that no longer finds its place would be planted nowhere.
  tests/sim/mutations.sh --check
  cargo clippy --workspace --all-targets --quiet -- -D warnings
}

deny() {
  need_cargo cargo-deny cargo-deny
  cargo deny --log-level error check bans licenses sources
}

unit() {
  need_command redis-server redis-server
  need_command kill procps
  # The step `fuzz` does more than go through the corpus.
  FUZZ_RUNS=0 cargo test --workspace --quiet
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

report() {
  need_command python3 python3
  python3 -m unittest discover -q -s benches/report
}

instructions() {
  need_command python3 python3
  need_command valgrind valgrind
  need_runner "$(benches/instructions.py --runner-version)"
  benches/instructions.py
}

clients() {
  need_command node nodejs
  need_command npm npm
  need_command curl curl
  need_command chromium chromium
  need_venv
  need_websocat
  tests/clients/run.sh
}

autobahn() {
  need_command openssl openssl
  need_venv
  tests/autobahn/run.sh --short
}

fuzz() { tests/fuzz/run.sh --smoke; }

operations() {
  need_command python3 python3
  need_command ip iproute2
  need_command openssl openssl
  tests/operations/run.sh --short
}

tuning() {
  if [ "$INSTALL" = no ]; then tests/tuning/run.sh --no-install; else tests/tuning/run.sh; fi
}

main() {
  local steps=()
  for argument in "$@"; do
    case $argument in
      --no-install) INSTALL=no ;;
      -h | --help) sed -n '2,9p' "$0" | cut -c3-; exit 0 ;;
      *) steps+=("$argument") ;;
    esac
  done
  [ ${#steps[@]} -gt 0 ] || steps=("${STEPS[@]}")
  mkdir -p "$TOOLS"
  : >"$SKIPS_FILE"
  local step passed=0 failed=()
  for step in "${steps[@]}"; do
    say "$step"
    # Not in a condition: there, bash would go on after a command that fails.
    local code=0 began=$SECONDS
    set +e
    (set -e; "$step")
    code=$?
    set -e
    printf -- '-- %s: %s s\n' "$step" $((SECONDS - began))
    # Built by itself the server would have libraries of other features, and all of them be built again.
    [ "$step $code" != "unit 0" ] || export SERVER_BINARY="${SERVER_BINARY:-$PWD/target/debug/ringroom}"
    if [ $code = "$SKIP" ]; then skip "$step"; elif [ $code = 0 ]; then passed=$((passed + 1)); else failed+=("$step"); fi
  done
  say "done"
  printf '%s steps passed, %s failed; %s skips, of steps or in them\n' \
    "$passed" "${#failed[@]}" "$(wc -l <"$SKIPS_FILE")"
  sed 's/^/!! SKIPPED: /' "$SKIPS_FILE" >&2
  [ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[*]}" >&2; exit 1; }
}

main "$@"
