#!/usr/bin/env bash
# Sets what check.sh says it would change, and keeps the old values for revert.sh. Doing it twice
# changes nothing more; what already suffices is left alone.
#
#   tuning/apply.sh [--profile 50k|1m] [--dry-run] [--persist] [options of check.sh]
#
#   --dry-run    prints what it would write, and writes nothing; needs no root
#   --persist    also writes the sysctls to /etc/sysctl.d/90-ringroom.conf, for the next start of the
#                host; the rest is to be applied again then
#   --state DIR  where the old values are kept (/var/lib/ringroom-tuning)
#
# Exit code: 0 if everything is as wanted, 1 if something could not be set, 2 for a wrong usage.
set -euo pipefail

# shellcheck source=tuning/lib/options.sh
. "${BASH_SOURCE%/*}/lib/options.sh"

# shellcheck disable=SC2034 # read by take_options
ALLOWED_FLAGS='--dry-run --persist'
FAILURES=0
SET=0

# NAME|PLACE|OLD|NEW: the old value is what there was before us, however often this runs.
keep_old() {
  local name=$1 place=$2 old=$3 new=$4 saved="$STATE/saved"
  local earlier
  earlier=$(saved_line "$place")
  if [ -n "$earlier" ]; then
    IFS='|' read -r _ _ old _ <<<"$earlier"
    { grep -vF "|$place|" "$saved" || true; } >"$saved.new"
    mv "$saved.new" "$saved"
  fi
  printf '%s|%s|%s|%s\n' "$name" "$place" "$old" "$new" >>"$saved"
}

saved_line() { grep -F "|$1|" "$STATE/saved" 2>/dev/null || true; }

set_place() {
  local name=$1 place=$2 current=$3 wanted=$4 rule=${RULE[$1]} found
  printf '%s: %s -> %s  (%s)\n' "$name" "${current:-none}" "$wanted" "${place#"$ROOT"}"
  ! has_flag --dry-run || return 0
  # Kept before it is written: a script that is killed between the two loses nothing.
  keep_old "$name" "$place" "$current" "$wanted"
  if ! write_place "$rule" "$place" "$wanted"; then
    forget_unless_changed "$name" "$place" "$current"
    echo "    cannot be set: the kernel, or this container, refuses it" >&2
    REFUSED[$name]=yes
    FAILURES=$((FAILURES + 1))
    return
  fi
  # The kernel may write it in its own way, or take less than was asked for.
  found=$(read_place "$rule" "$place") || found=$wanted
  keep_old "$name" "$place" "$current" "$found"
  SET=$((SET + 1))
}

forget_unless_changed() {
  [ "$(read_place "${RULE[$1]}" "$2")" = "$3" ] || return 0
  { grep -vF "|$2|" "$STATE/saved" || true; } >"$STATE/saved.new"
  mv "$STATE/saved.new" "$STATE/saved"
}

persist() {
  local file=$ROOT/etc/sysctl.d/90-ringroom.conf name place current wanted
  refuse_unless_ours "$file" || { FAILURES=$((FAILURES + 1)); return; }
  ! has_flag --dry-run || { echo "${file#"$ROOT"} would be written"; return; }
  mkdir -p "${file%/*}"
  {
    echo "$MARK"
    for name in "${SETTINGS[@]}"; do
      [ "${KIND[$name]}" = sysctl ] || continue
      is_chosen "$name" || continue
      while IFS='|' read -r place current wanted; do
        echo "$name = $wanted"
      done < <(plan "$name" "$PROFILE")
    done
  } >"$file"
}

tell_of_limit() {
  local wanted=${VALUE[limits.nofile/$PROFILE]} most
  most=$(nr_open_at_login)
  { is_chosen limits.nofile && [ "$most" -lt "$wanted" ]; } || return 0
  echo "limits.nofile: $most and not $wanted, for fs.nr_open may be no more when $SERVER_USER logs in (after a restart: --persist)"
}

main() {
  take_options "$@"
  has_flag --dry-run || mkdir -p "$STATE" || wrong "cannot keep old values in $STATE: run as root, or with --dry-run"
  has_flag --dry-run || touch "$STATE/saved"
  local name place current wanted
  for name in "${SETTINGS[@]}"; do
    is_chosen "$name" || continue
    while IFS='|' read -r place current wanted <&3; do
      [ "$current" = "$wanted" ] || set_place "$name" "$place" "$current" "$wanted"
    done 3< <(plan "$name" "$PROFILE")
  done
  ! has_flag --persist || persist
  tell_of_limit
  printf '%s set, %s refused. Undo with revert.sh.\n' $SET $FAILURES
  [ $FAILURES = 0 ]
}

main "$@"
