#!/usr/bin/env bash
# The fuzz targets.
#
#   tests/fuzz/run.sh --smoke            each by random mutations of its corpus, on stable Rust
#   tests/fuzz/run.sh --long [TARGET…]   each under libFuzzer with the address sanitizer, FUZZ_RUNS
#                                        executions (10,000,000); wants cargo-fuzz, and nightly Rust
#                                        or, where there is none, whatever Rust there is, told to be
#                                        as lenient as nightly (RUSTC_BOOTSTRAP). FUZZ_SANITIZER
#                                        (address) may be none: several times as fast, and enough for
#                                        what has no unsafe code
set -euo pipefail
cd "$(dirname "$0")/../.."

FOLDER=tests/fuzz

smoke() {
  # Another seed every day, and the same one all day, so that a failure can be repeated.
  FUZZ_SEED=${FUZZ_SEED:-$(date -u +%Y%m%d)} cargo test --workspace --quiet --test fuzz
}

long() {
  # The instrumented C of libdeflate and the sanitizer disagree about symbols that are defined once.
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_odr_violation=0}
  local targets=("$@") target
  local cargo=(cargo +nightly)
  "${cargo[@]}" --version >/dev/null 2>&1 || {
    cargo=(cargo)
    export RUSTC_BOOTSTRAP=1
  }
  "${cargo[@]}" fuzz --version >/dev/null 2>&1 || {
    printf '!! cargo fuzz does not run. Install it with: cargo install --locked cargo-fuzz\n' >&2
    exit 77
  }
  [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <("${cargo[@]}" fuzz list --fuzz-dir "$FOLDER")
  for target in "${targets[@]}"; do
    printf '== %s\n' "$target"
    # What is found goes to a folder that is not kept; merge what is worth keeping into the corpus.
    mkdir -p "$FOLDER/found/$target" "$FOLDER/corpus/$target"
    "${cargo[@]}" fuzz run --fuzz-dir "$FOLDER" --sanitizer "${FUZZ_SANITIZER:-address}" "$target" \
      "$FOLDER/found/$target" "$FOLDER/corpus/$target" -- \
      -runs="${FUZZ_RUNS:-10000000}" -max_len=4096 -timeout=10 -print_final_stats=1
  done
}

case ${1:---smoke} in
  --smoke) smoke ;;
  --long) shift; long "$@" ;;
  *) sed -n '2,10p' "$0" | cut -c3-; exit 2 ;;
esac
