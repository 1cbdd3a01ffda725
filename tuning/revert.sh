#!/usr/bin/env bash
# Puts back what apply.sh has changed, the last first. What somebody has changed since is left alone.
#
#   tuning/revert.sh [--dry-run] [--force] [--state DIR]
#
#   --dry-run    prints what it would write, and writes nothing
#   --force      also what was changed since
#   --state DIR  where the old values are kept (/var/lib/ringroom-tuning)
#
# Exit code: 0 if everything is as it was, 1 if something is not, 2 for a wrong usage.
set -euo pipefail

# shellcheck source=tuning/lib/options.sh
. "${BASH_SOURCE%/*}/lib/options.sh"

# shellcheck disable=SC2034 # read by take_options
ALLOWED_FLAGS='--dry-run --force'
KEPT=()

# Whether the place is as it was before us: the line can be forgotten.
put_back() {
  local name=$1 place=$2 old=$3 new=$4 rule=${RULE[$1]} current
  if ! current=$(read_place "$rule" "$place"); then
    echo "$name: ${place#"$ROOT"} is gone"
    return 0
  fi
  [ "$current" != "$old" ] || return 0
  if [ "$current" != "$new" ] && ! has_flag --force; then
    echo "$name: changed since to $current; left alone (--force)" >&2
    return 1
  fi
  printf '%s: %s -> %s  (%s)\n' "$name" "$current" "${old:-none}" "${place#"$ROOT"}"
  has_flag --dry-run || restore_place "$rule" "$place" "$old"
}

unpersist() {
  local file=$ROOT/etc/sysctl.d/90-ringroom.conf
  { [ -e "$file" ] && head -1 "$file" | grep -qxF "$MARK"; } || return 0
  echo "${file#"$ROOT"} is removed"
  has_flag --dry-run || rm "$file"
}

main() {
  take_options "$@"
  unpersist
  [ -s "$STATE/saved" ] || { echo "nothing is kept in $STATE: nothing to put back"; return 0; }
  local name place old new
  while IFS='|' read -r name place old new <&3; do
    put_back "$name" "$place" "$old" "$new" || KEPT+=("$name|$place|$old|$new")
  done 3< <(tac "$STATE/saved")
  ! has_flag --dry-run || return 0
  [ ${#KEPT[@]} = 0 ] && rm "$STATE/saved" && return 0
  printf '%s\n' "${KEPT[@]}" | tac >"$STATE/saved.new"
  mv "$STATE/saved.new" "$STATE/saved"
  echo "${#KEPT[@]} are not as they were; they stay in $STATE/saved" >&2
  return 1
}

main "$@"
