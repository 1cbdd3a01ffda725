# shellcheck shell=bash
# The options that the three scripts share, and the parts they are made of.

# shellcheck source=tuning/lib/table.sh
. "${BASH_SOURCE%/*}/table.sh"
# shellcheck source=tuning/lib/places.sh
. "${BASH_SOURCE%/*}/places.sh"
# shellcheck source=tuning/lib/facts.sh
. "${BASH_SOURCE%/*}/facts.sh"

readonly USAGE_ERROR=2

PROFILE=''
CONNECTIONS=''
CORES=0
PORTS=8000,8001
CPUS=''
STEER=onto
STEER_ASKED=''
INTERFACES=()
SERVER_USER=ringroom
WITH=()
ONLY='*'
STATE=$ROOT/var/lib/ringroom-tuning
FLAGS=()
# What a script judges beside the settings.
JUDGED=()

# Takes the options; those of one script alone are named in its ALLOWED_FLAGS, and come in FLAGS.
take_options() {
  while [ $# -gt 0 ]; do
    local option=$1 value=${2:-}
    case $option in
      -h | --help) print_help; exit 0 ;;
      --table) print_table; exit 0 ;;
      --profile | --connections | --cores | --ports | --cpus | --steer | --interface | --user | --with | --only | --state)
        [ -n "$value" ] || wrong "$option wants a value"
        take_value "$option" "$value"
        shift 2
        ;;
      *)
        [[ " $ALLOWED_FLAGS " == *" $option "* ]] || wrong "unknown option: $option"
        FLAGS+=("$option")
        shift
        ;;
    esac
  done
  names_something || wrong "--only $ONLY: there is no such setting"
  choose_profile
}

# Whether --only leaves anything in: a setting, or a subject of check.sh.
names_something() {
  local name
  for name in "${SETTINGS[@]}" "${JUDGED[@]}"; do ! is_chosen "$name" || return 0; done
  return 1
}

take_value() {
  local value=$2
  case $1 in
    --profile) PROFILE=$(one_of "$value" "${PROFILES[@]}") || wrong "--profile: ${PROFILES[*]}" ;;
    --connections) CONNECTIONS=$(between "$value" 1 10000000) || wrong '--connections: 1 to 10000000' ;;
    --cores) CORES=$(between "$value" 0 256) || wrong '--cores: 0 to 256' ;;
    --ports) PORTS=$(set_of "$value" 65535) || wrong '--ports: such as 8000,8001' ;;
    --cpus) CPUS=$(set_of "$value" 1023) || wrong '--cpus: such as 0,2-5' ;;
    --steer) STEER=$(one_of "$value" onto away keep) || wrong '--steer: onto, away or keep'; STEER_ASKED=yes ;;
    --interface) INTERFACES+=("$(name_of "$value")") || wrong '--interface: a name' ;;
    --user) SERVER_USER=$(name_of "$value") || wrong '--user: a name' ;;
    --with) WITH+=("$(one_of "$value" "${ONLY_WITH[@]}")") || wrong "--with: ${ONLY_WITH[*]}" ;;
    --only) ONLY=$value ;;
    --state) STATE=$value ;;
  esac
}

# The smallest profile that holds as many, if only those are given.
choose_profile() {
  local profile
  for profile in "${PROFILES[@]}"; do
    [ -n "$PROFILE" ] || [ -z "$CONNECTIONS" ] || [ "$CONNECTIONS" -gt "$(profile_connections "$profile")" ] || PROFILE=$profile
  done
  [ -n "$PROFILE" ] || if [ -n "$CONNECTIONS" ]; then PROFILE=${PROFILES[-1]}; else PROFILE=${PROFILES[0]}; fi
  [ -n "$CONNECTIONS" ] || CONNECTIONS=$(profile_connections "$PROFILE")
  [ "$STEER" = keep ] || [ -n "$(steered_cpus)" ] || wrong '--steer away: --cpus leaves no other CPU'
  [ "$STEER" = keep ] || [ -z "$STEER_ASKED" ] || [ -n "$(interfaces)" ] || wrong "--steer $STEER: there is no network card here to steer (--interface)"
}

one_of() {
  local value=$1 allowed
  shift
  for allowed in "$@"; do [ "$value" != "$allowed" ] || { echo "$value"; return; }; done
  return 1
}

# In decimal, whatever zeros stand in front.
between() {
  [[ $1 =~ ^[0-9]{1,9}$ ]] || return 1
  local number=$((10#$1))
  [ $number -ge "$2" ] && [ $number -le "$3" ] && echo $number
}

name_of() { [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] && echo "$1"; }

# Numbers and spans of them, each at most the second.
set_of() {
  local span
  [[ $1 =~ ^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$ ]] || return 1
  for span in ${1//,/ }; do
    [ "${span#*-}" -le "$2" ] && [ "${span%-*}" -le "${span#*-}" ] || return 1
  done
  echo "$1"
}

has_flag() { [[ " ${FLAGS[*]:-} " == *" $1 "* ]]; }

# Whether --only leaves a setting in.
is_chosen() {
  # shellcheck disable=SC2053 # a pattern is wanted
  [[ $1 == $ONLY ]]
}

wrong() {
  echo "${0##*/}: $1 (--help)" >&2
  exit $USAGE_ERROR
}

# The comment at the head of the script is its help.
print_help() { sed -n '2,/^set /{ s/^# \{0,1\}//; /^set /!p; }' "$0"; }
