# shellcheck shell=bash
# Where the settings of the table live, and how a place is read, judged and written.
#
# A kind says which places a setting has (`find_KIND NAME VALUE` prints PATH|VALUE lines); a rule
# says how one is read and when it suffices. Everything is under $ROOT, which is empty but in tests.
#
# Invariant: nothing but `write_place` and `restore_place` changes anything.

ROOT=${RINGROOM_TUNING_ROOT:-}
MARK='# Written by apply.sh of Ringroom; removed by its revert.sh.'
NOTRACK_TABLE=ringroom_notrack
# What fs.nr_open is when the kernel starts.
readonly KERNEL_NR_OPEN=1048576
# By name, what could not be set.
declare -gA REFUSED=()

# PLACE|CURRENT|WANTED of every place of a setting in a profile; the two are equal where it suffices.
plan() {
  local name=$1 value=${VALUE[$1/$2]:-} rule=${RULE[$1]} place target current
  [ "$value" != STEER_ASKED ] || value=${STEER_ASKED:+STEER}
  [ -n "$value" ] || return 0
  is_asked_for "$name" || return 0
  "find_${KIND[$name]}" "$name" "$value" | while IFS='|' read -r place target; do
    current=$(read_place "$rule" "$place") || continue
    printf '%s|%s|%s\n' "$place" "$current" "$(wanted_at "$rule" "$current" "$target")"
  done
}

is_asked_for() {
  local with=${ONLY_WITH[$1]:-}
  [ -z "$with" ] || [[ " ${WITH[*]:-} " == *" $with "* ]]
}

# --- kinds

find_sysctl() {
  local path=$ROOT/proc/sys/${1//./\/} value=$2
  [ "$value" = PORTS ] && value=$PORTS
  [ ! -e "$path" ] || echo "$path|$value"
}

find_governor() {
  local path
  for path in "$ROOT"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
    [ -e "$path" ] || continue
    [[ " $(words "${path%/*}/scaling_available_governors") " != *" $2 "* ]] || echo "$path|$2"
  done
}

find_transparent_huge_pages() {
  local path=$ROOT/sys/kernel/mm/transparent_hugepage/enabled
  [ ! -e "$path" ] || echo "$path|$2"
}

find_limits_file() {
  local most
  most=$(nr_open_at_login)
  echo "$ROOT/etc/security/limits.d/90-ringroom.conf|$SERVER_USER $(($2 < most ? $2 : most))"
}

# The least that fs.nr_open is whenever the user logs in: a limit above it is refused, and the login with
# it. After a restart it is the kernel's own again, unless a file of ours has it.
nr_open_at_login() {
  local now start=$KERNEL_NR_OPEN kept persisted=$ROOT/etc/sysctl.d/90-ringroom.conf
  now=$(words "$ROOT/proc/sys/fs/nr_open") || now=$KERNEL_NR_OPEN
  if is_chosen fs.nr_open && [ -z "${REFUSED[fs.nr_open]:-}" ]; then
    now=$(wanted_at least "$now" "${VALUE[fs.nr_open/$PROFILE]}")
    ! { has_flag --persist && is_ours "$persisted"; } || start=$now
  fi
  if ! has_flag --persist || ! is_ours "$persisted"; then
    kept=$(sed -n 's/^fs.nr_open = //p' "$persisted" 2>/dev/null) || kept=''
    start=${kept:-$start}
  fi
  echo $((now < start ? now : start))
}

find_notrack() { echo "inet $NOTRACK_TABLE|$PORTS"; }

find_receive_steering() {
  local interface queues mask
  [ "$STEER" != keep ] || return 0
  for interface in $(interfaces); do
    mapfile -t queues < <(compgen -G "$ROOT/sys/class/net/$interface/queues/rx-*/rps_cpus")
    mask=$(mask_of "$(steered_cpus)")
    [ ${#queues[@]} -lt "$(count "$(steered_cpus)")" ] || mask=0
    [ ${#queues[@]} = 0 ] || printf "%s|$mask\n" "${queues[@]}"
  done
}

find_transmit_steering() {
  local interface queues index cpus
  [ "$STEER" != keep ] || return 0
  for interface in $(interfaces); do
    mapfile -t queues < <(compgen -G "$ROOT/sys/class/net/$interface/queues/tx-*/xps_cpus" | sort -V)
    [ ${#queues[@]} -gt 1 ] || continue
    for index in "${!queues[@]}"; do
      cpus=$(every_nth "${#queues[@]}" "$index" "$(online_cpus)")
      [ -z "$cpus" ] || echo "${queues[$index]}|$(mask_of "$cpus")"
    done
  done
}

find_interrupt_steering() {
  local interface cpus interrupts index
  [ "$STEER" != keep ] || return 0
  read -ra cpus <<<"$(steered_cpus)"
  for interface in $(interfaces); do
    mapfile -t interrupts < <(interrupts_of "$interface")
    for index in "${!interrupts[@]}"; do
      echo "$ROOT/proc/irq/${interrupts[$index]}/smp_affinity_list|${cpus[index % ${#cpus[@]}]}"
    done
  done
}

# Network cards: what has a device behind it, unless --interface names others.
interfaces() {
  local path
  if [ ${#INTERFACES[@]} -gt 0 ]; then
    printf '%s\n' "${INTERFACES[@]}"
    return
  fi
  for path in "$ROOT"/sys/class/net/*/device; do
    [ ! -e "$path" ] || basename "${path%/device}"
  done
}

# A virtio card has its interrupts at the device around it.
interrupts_of() {
  local device directory path
  device=$(readlink -f "$ROOT/sys/class/net/$1/device") || return 0
  for directory in "$device/msi_irqs" "${device%/*}/msi_irqs"; do
    [ -d "$directory" ] || continue
    for path in "$directory"/*; do
      [ ! -e "$ROOT/proc/irq/${path##*/}/smp_affinity_list" ] || echo "${path##*/}"
    done | sort -n
    return
  done
}

# --- rules

# One line; fails if there is nothing to read.
read_place() {
  case $1 in
    choice) words "$2" | sed 's/.*\[\(.*\)\].*/\1/' ;;
    mask) words "$2" | tr -d ' ' | sed -E 's/^([0,]*)([0-9a-f])/\2/' ;;
    limits) if [ -e "$2" ]; then limits_in "$2"; else echo absent; fi ;;
    present) notrack_ports || echo absent ;;
    *) words "$2" ;;
  esac
}

words() {
  local line
  line=$(tr -s '[:space:]' ' ' 2>/dev/null <"$1") || return 1
  line=${line# }
  echo "${line% }"
}

# What is to be written: the current value itself where it suffices.
wanted_at() {
  local rule=$1 current=$2 value=$3
  case $rule in
    least | most) each_word "$rule" "$current" "$value" ;;
    range) widened "$current" "$value" ;;
    covers) covering "$current" "$value" ;;
    limits) with_limit "$current" "$value" ;;
    *) echo "$value" ;;
  esac
}

each_word() {
  local rule=$1 index have want
  read -ra have <<<"$2"
  read -ra want <<<"$3"
  for index in "${!want[@]}"; do
    case $rule in
      least) [ "${have[index]:-0}" -lt "${want[index]}" ] || want[index]=${have[index]} ;;
      most) [ "${have[index]:-0}" -gt "${want[index]}" ] || want[index]=${have[index]} ;;
    esac
  done
  echo "${want[*]}"
}

widened() {
  local first last least most
  read -r first last <<<"$1"
  read -r least most <<<"$2"
  echo "$((first < least ? first : least)) $((last > most ? last : most))"
}

# The set of ports with those of the second that it lacks.
covering() {
  local have=$1 port span first last
  for port in ${2//,/ }; do
    for span in ${1//,/ }; do
      first=${span%-*} last=${span#*-}
      [ "${port%-*}" -lt "$first" ] || [ "${port#*-}" -gt "$last" ] || continue 2
    done
    have+=${have:+,}$port
  done
  echo "$have"
}

# The limits of users in a file, in a line: USER LIMIT USER LIMIT…
limits_in() { sed -n 's/^\([^ #]*\) hard nofile \([0-9]*\)$/\1 \2/p' "$1" | paste -sd ' '; }

# A line of limits in which one user has another, and all others theirs.
with_limit() {
  local index have user limit changed=() found=''
  read -ra have <<<"${1/#absent/}"
  read -r user limit <<<"$2"
  for ((index = 0; index < ${#have[@]}; index += 2)); do
    [ "${have[index]}" != "$user" ] || { have[index + 1]=$limit; found=yes; }
    changed+=("${have[index]}" "${have[index + 1]}")
  done
  [ -n "$found" ] || changed+=("$user" "$limit")
  echo "${changed[*]}"
}

write_place() {
  local rule=$1 place=$2 value=$3
  case $rule in
    limits) write_limits "$place" "$value" ;;
    present) write_notrack "$value" ;;
    *) printf '%s\n' "$value" 2>/dev/null >"$place" ;;
  esac
}

restore_place() {
  local rule=$1 place=$2 old=$3
  case $rule/$old in
    limits/absent) rm -f "$place" ;;
    present/absent) nft delete table inet "$NOTRACK_TABLE" ;;
    *) write_place "$rule" "$place" "$old" ;;
  esac
}

# Whether a file may be written: it is not there, or we have written it.
is_ours() { [ ! -e "$1" ] || head -1 "$1" | grep -qxF "$MARK"; }

refuse_unless_ours() {
  is_ours "$1" || {
    echo "${1#"$ROOT"} is not ours" >&2
    return 1
  }
}

write_limits() {
  refuse_unless_ours "$1" || return 1
  local limits index
  read -ra limits <<<"$2"
  mkdir -p "${1%/*}"
  {
    echo "$MARK"
    for ((index = 0; index < ${#limits[@]}; index += 2)); do
      printf '%s %s nofile %s\n' "${limits[index]}" hard "${limits[index + 1]}" "${limits[index]}" soft "${limits[index + 1]}"
    done
  } >"$1"
}

notrack_ports() {
  local rules
  rules=$(nft list table inet "$NOTRACK_TABLE" 2>/dev/null) || return 1
  sed -n 's/.*comment "ports \([0-9,-]*\)".*/\1/p' <<<"$rules" | head -1
}

# Both directions: what comes to the ports, and what the server answers from them. A proxy on the
# same host reaches them over loopback, where either end passes both chains.
write_notrack() {
  nft -f - <<RULES
table inet $NOTRACK_TABLE
delete table inet $NOTRACK_TABLE
table inet $NOTRACK_TABLE {
  chain incoming {
    type filter hook prerouting priority raw;
    tcp dport { ${1//,/, } } notrack comment "ports $1"
    iifname "lo" tcp sport { ${1//,/, } } notrack
  }
  chain outgoing {
    type filter hook output priority raw;
    tcp sport { ${1//,/, } } notrack
    oifname "lo" tcp dport { ${1//,/, } } notrack
  }
}
RULES
}

# --- CPUs, as words of numbers

online_cpus() { expanded "$(words "$ROOT/sys/devices/system/cpu/online")"; }

expanded() {
  local span cpus=()
  for span in ${1//,/ }; do
    mapfile -t -O ${#cpus[@]} cpus < <(seq "${span%-*}" "${span#*-}")
  done
  echo "${cpus[*]}"
}

# The CPUs that work on packets: those of the cores, or all others.
steered_cpus() {
  local cores cpu others=()
  cores=$(expanded "${CPUS:-$(words "$ROOT/sys/devices/system/cpu/online")}")
  if [ "$STEER" = onto ]; then
    echo "$cores"
    return
  fi
  for cpu in $(online_cpus); do
    [[ " $cores " == *" $cpu "* ]] || others+=("$cpu")
  done
  echo "${others[*]}"
}

# As the server writes a list: runs of three and more shortened.
shortened() {
  local cpus text='' index run
  read -ra cpus <<<"$1"
  for ((index = 0; index < ${#cpus[@]}; index += run)); do
    run=1
    while [ "${cpus[index + run]:-none}" = $((cpus[index] + run)) ]; do run=$((run + 1)); done
    [ $run -gt 2 ] || run=1
    text+=${text:+,}${cpus[index]}
    [ $run = 1 ] || text+=-${cpus[index + run - 1]}
  done
  echo "$text"
}

count() { wc -w <<<"$1"; }

every_nth() {
  local step=$1 first=$2 cpus=() chosen=() index
  read -ra cpus <<<"$3"
  for ((index = first; index < ${#cpus[@]}; index += step)); do chosen+=("${cpus[index]}"); done
  echo "${chosen[*]}"
}

# As the kernel writes it: hexadecimal, a comma between each 32.
mask_of() {
  local cpu groups=() index text=''
  for cpu in $1; do
    groups[cpu / 32]=$((${groups[cpu / 32]:-0} | 1 << cpu % 32))
  done
  for index in "${!groups[@]}"; do :; done
  for (( ; index >= 0; index--)); do
    if [ -z "$text" ]; then text=$(printf '%x' "${groups[index]:-0}"); else text+=$(printf ',%08x' "${groups[index]:-0}"); fi
  done
  echo "$text"
}
