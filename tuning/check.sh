#!/usr/bin/env bash
# Says what this host lacks for many connections, why it matters, and what apply.sh would change.
# Changes nothing, and needs no root.
#
#   tuning/check.sh [--profile 50k|1m | --connections N] [--cores N] [options]
#
#   --json            for machines: the fields of `ringroom probe --json`, `changes` and `notes`
#   --table           the table of settings as Markdown
#   --only PATTERN    settings and subjects whose names match, such as 'net.*'
#   --ports LIST      what the server listens on (8000,8001)
#   --cpus LIST       CPUs of the core threads, as cores.cpus has them (all)
#   --steer onto|away|keep   interrupts and packets onto the cores, away from them, or as they are
#                     (of 1m: onto; of 50k: keep)
#   --interface NAME  a network card (all that have a device); can be repeated
#   --user NAME       whose limits are meant (ringroom)
#   --with notrack, --with busy-polling   settings that are left alone unless asked for
#
# Exit code: 0 if nothing essential is short, 3 if something is, 2 for a wrong usage.
set -euo pipefail

# shellcheck source=tuning/lib/options.sh
. "${BASH_SOURCE%/*}/lib/options.sh"

ALLOWED_FLAGS='--json'
# shellcheck disable=SC2034 # read by take_options
JUDGED=("${HOST_SUBJECTS[@]}")
SHORT=3
FINDINGS=()
CHANGES=()
NOTES=()
SHORTAGES=0

finding() {
  local subject=$1 verdict=$2 found=$3 wanted=$4 cost=${5:-} mend=${6:-}
  is_chosen "$subject" || return 0
  [ "$verdict" != short ] || SHORTAGES=$((SHORTAGES + 1))
  if has_flag --json; then
    FINDINGS+=("$(json_object subject "$subject" verdict "$verdict" found "$found" wanted "$wanted" cost "$cost" mend "$mend")")
    return
  fi
  printf '%-30s  %-6s  %s (wanted: %s)\n' "$subject" "${verdict/short/SHORT}" "$found" "$wanted"
  [ -z "$cost" ] || printf '%30s  costs   %s\n%30s  mend    %s\n' '' "$cost" '' "$mend"
}

change() {
  local name=$1 place=${2#"$ROOT"} from=$3 to=$4
  if has_flag --json; then
    CHANGES+=("$(json_object setting "$name" place "$place" from "$from" to "$to" why "${WHY[$name]}")")
    return
  fi
  printf '%s: %s -> %s\n    %s\n    why: %s\n    effect: %s\n    undone: %s\n' \
    "$name" "${from:-none}" "$to" "$place" "${WHY[$name]}" "${EFFECT[$name]}" "${UNDO[$name]}"
}

json_object() {
  local text='' separator=''
  while [ $# -gt 0 ]; do
    text+="$separator\"$1\": $(json_string "$2")" separator=', '
    shift 2
  done
  echo "{$text}"
}

json_string() {
  local text=${1//\\/\\\\}
  echo "\"${text//\"/\\\"}\""
}

# What apply.sh would do, of every place that does not suffice.
tell_changes() {
  local name place current wanted
  for name in "${SETTINGS[@]}"; do
    is_chosen "$name" || continue
    while IFS='|' read -r place current wanted; do
      [ "$current" = "$wanted" ] || change "$name" "$place" "$current" "$wanted"
    done < <(plan "$name" "$PROFILE")
  done
}

tell_notes() {
  local note
  while read -r note; do
    if has_flag --json; then NOTES+=("$(json_string "$note")"); else printf '\nnote: %s\n' "$note"; fi
  done < <(notes)
}

print_json() {
  local sufficient=true IFS=,
  [ $SHORTAGES = 0 ] || sufficient=false
  printf '{"connections": %s, "cores": %s, "profile": "%s", "sufficient": %s,\n"findings": [%s],\n"changes": [%s],\n"notes": [%s]}\n' \
    "$CONNECTIONS" "$CORES" "$PROFILE" $sufficient "${FINDINGS[*]:-}" "${CHANGES[*]:-}" "${NOTES[*]:-}"
}

main() {
  take_options "$@"
  read_facts
  if has_flag --json; then
    judge
    tell_changes
    tell_notes
    print_json
  else
    printf 'For %s connections on %s core threads:\n\n' "$CONNECTIONS" "$CORES"
    judge
    printf '\nWhat apply.sh --profile %s would change:\n\n' "$PROFILE"
    tell_changes
    tell_notes
    printf '\nEssential and short: %s.\n' $SHORTAGES
  fi
  [ $SHORTAGES = 0 ] || exit $SHORT
}

main "$@"
