# shellcheck shell=bash
# How the table in settings.sh is kept: a list of names, and for each name its fields.

SETTINGS=()
declare -gA KIND RULE VALUE NEED NEED_WORD LACKING ONLY_WITH COST WHY EFFECT UNDO
CURRENT_SETTING=''

setting() {
  CURRENT_SETTING=$1
  SETTINGS+=("$1")
  KIND[$1]=$2
  RULE[$1]=$3
}

profile() { VALUE[$CURRENT_SETTING/$1]=$2; }

need() {
  if [ $# = 2 ]; then
    NEED_WORD[$CURRENT_SETTING]=$1
    shift
  fi
  NEED[$CURRENT_SETTING]=$1
}

lacking() { LACKING[$CURRENT_SETTING]=$1; }
only_with() { ONLY_WITH[$CURRENT_SETTING]=$1; }
cost() { COST[$CURRENT_SETTING]=$1; }
# Of more than one part, so that a long reason can stand on several lines.
why() { WHY[$CURRENT_SETTING]=$*; }
effect() { EFFECT[$CURRENT_SETTING]=$*; }
undo() { UNDO[$CURRENT_SETTING]=$1; }

# shellcheck source=tuning/settings.sh
. "${BASH_SOURCE%/*}/../settings.sh"

# The table as Markdown, for the README.
# shellcheck disable=SC2016 # the backquotes are Markdown
print_table() {
  local name with
  echo '| setting | 50k | 1m | why | measured effect | undone by |'
  echo '|---|---|---|---|---|---|'
  for name in "${SETTINGS[@]}"; do
    with=${ONLY_WITH[$name]:-}
    printf '| `%s`%s | %s | %s | %s | %s | %s |\n' "$name" "${with:+ (\`--with $with\`)}" \
      "$(shown_value "$name" 50k)" "$(shown_value "$name" 1m)" \
      "${WHY[$name]}" "${EFFECT[$name]}" "${UNDO[$name]}"
  done
}

# shellcheck disable=SC2016 # the backquotes are Markdown
shown_value() {
  local value=${VALUE[$1/$2]:-}
  case $value in
    '') echo 'left alone' ;;
    PORTS) echo '`--ports`' ;;
    STEER) echo '`--steer`' ;;
    STEER_ASKED) echo '`--steer` if given' ;;
    *) printf '`%s`' "$value" ;;
  esac
}
