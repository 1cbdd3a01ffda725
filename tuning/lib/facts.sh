# shellcheck shell=bash
# What this host has, judged as `ringroom probe` judges it (src/net/probe/judge.rs), without it.
#
# Invariant: for the same host and question, subjects, verdicts, what was found and wanted, what it
# costs and what mends it are the same as the probe's; a test holds the two together.

readonly SPARE_DESCRIPTORS=256
readonly UNLIMITED=9223372036854775807
readonly CORES_MAX=256
# What is judged beside the settings that have a need.
# shellcheck disable=SC2034 # read by check.sh
readonly HOST_SUBJECTS=(kernel io_uring 'io_uring flags' 'unshare(CLONE_FILES)' RLIMIT_NOFILE RLIMIT_MEMLOCK CPUs)

# Sets what the expressions of the table may name.
read_facts() {
  KERNEL=$(words "$ROOT/proc/sys/kernel/osrelease")
  CPUS_ALLOWED=$(expanded "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)")
  [ "$CORES" != 0 ] || CORES=$(count "$CPUS_ALLOWED")
  TRACKED=$(words "$ROOT/proc/sys/net/netfilter/nf_conntrack_count" || echo 0)
  declare -gA TRIED=()
  local subject outcome
  while read -r subject outcome; do TRIED[$subject]=$outcome; done < <(try_features)
  DESCRIPTORS=$(descriptors_with "$CORES")
}

# Descriptors that one table must hold with so many cores. The kernel spreads connections over cores
# by hash, so a core gets some more than its share.
descriptors_with() {
  local cores=$1 share
  if [ "${TRIED[unshare]}" = works ] && [ "$cores" -gt 1 ]; then
    share=$(((CONNECTIONS + cores - 1) / cores))
    echo $((share + share / 20 + SPARE_DESCRIPTORS))
  else
    echo $((CONNECTIONS + SPARE_DESCRIPTORS * cores))
  fi
}

# How many core threads, each with its own table, make a limit enough; nothing if none do.
cores_that_suffice() {
  local limit=$1 cores
  [ "${TRIED[unshare]}" = works ] || return 0
  for ((cores = CORES; cores <= CORES_MAX; cores++)); do
    [ "$(descriptors_with "$cores")" -gt "$limit" ] || { echo "$cores"; return; }
  done
}

# Tries what no file tells: a ring with each flag, and a descriptor table of one's own. A process of
# its own tries, and takes with it what it got.
try_features() {
  command -v perl >/dev/null || {
    printf '%s unknown\n' plain coop single defer unshare
    return
  }
  perl -e '
    use POSIX ();
    my %unshare = (x86_64 => 272, aarch64 => 97, riscv64 => 97);
    my ($single, $defer, $coop) = (1 << 12, 1 << 13, 1 << 8);
    my $say = sub {
      my ($name, $result) = @_;
      my $error = $! + 0;
      my %names = map { no strict "refs"; (&{"POSIX::$_"}() => $_) } qw(EPERM EACCES ENOMEM ENOSYS EINVAL);
      print "$name ", $result >= 0 ? "works" : $names{$error} // "error-$error", "\n";
      POSIX::close($result) if $result > 2;
    };
    for (["plain", 0], ["coop", $coop], ["single", $single], ["defer", $single | $defer]) {
      my $parameters = pack("L L L x108", 0, 0, $_->[1]);
      $say->($_->[0], syscall(425, 8, $parameters));
    }
    my $number = $unshare{(POSIX::uname())[4]};
    if (defined $number) { $say->("unshare", syscall($number, 0x400)) } else { print "unshare unknown\n" }
  '
}

# finding SUBJECT VERDICT FOUND WANTED COST MEND, of everything the probe judges.
judge() {
  judge_kernel
  judge_ring
  judge_ring_flags
  judge_own_table
  judge_descriptors
  judge_locked_bytes
  judge_cpus
  local name
  for name in "${SETTINGS[@]}"; do [ -z "${NEED[$name]:-}" ] || judge_sysctl "$name"; done
}

kernel_is_at_least() {
  local major minor
  IFS=.- read -r major minor _ <<<"$KERNEL"
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+ ]] || return 1
  minor=${BASH_REMATCH[0]}
  [ "$major" -gt "$1" ] || { [ "$major" = "$1" ] && [ "$minor" -ge "$2" ]; }
}

judge_kernel() {
  if kernel_is_at_least 6 1; then
    finding kernel ok "$KERNEL" '6.1 or later'
  else
    finding kernel advice "$KERNEL" '6.1 or later' \
      'rings without DEFER_TASKRUN, or none: more CPU for each message' \
      'a newer kernel from the distribution (Debian: apt install linux-image-amd64)'
  fi
}

# What was tried, in the probe's words.
outcome() { case $1 in works | unknown) echo "$1" ;; error-*) echo "refused with ${1/-/ }" ;; *) echo "refused with $1" ;; esac; }

judge_ring() {
  local plain=${TRIED[plain]} found mend disabled
  disabled=$(words "$ROOT/proc/sys/kernel/io_uring_disabled" || true)
  found=$(outcome "$plain")
  case $plain/$disabled in
    works/* | unknown/*) finding io_uring ok "$found" works; return ;;
    */1 | */2)
      found+='; kernel.io_uring_disabled is on'
      mend='sysctl -w kernel.io_uring_disabled=0'
      ;;
    ENOMEM/*) mend='ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)' ;;
    ENOSYS/*) mend='a kernel with CONFIG_IO_URING' ;;
    *) mend='a seccomp profile that allows io_uring_setup, _enter and _register' ;;
  esac
  finding io_uring advice "$found" works 'the server falls back to epoll, and says so' "$mend"
}

judge_ring_flags() {
  local wanted='SINGLE_ISSUER DEFER_TASKRUN COOP_TASKRUN' works=() lacks=() flag mend='see io_uring'
  for flag in $wanted; do
    case ${TRIED[$(tr '[:upper:]' '[:lower:]' <<<"${flag%%_*}")]} in
      works | unknown) works+=("$flag") ;;
      *) lacks+=("$flag") ;;
    esac
  done
  if [ ${#lacks[@]} = 0 ]; then
    finding 'io_uring flags' ok "$wanted" "$wanted"
    return
  fi
  [ "${TRIED[plain]}" != works ] || mend='kernel 6.1 or later'
  [ ${#works[@]} -gt 0 ] || works=(none)
  finding 'io_uring flags' advice "${works[*]}" "$wanted" \
    "more interruptions and more CPU for each message without [$(quoted "${lacks[@]}")]" "$mend"
}

quoted() {
  local list
  printf -v list '"%s", ' "$@"
  echo "${list%, }"
}

judge_own_table() {
  local found
  found=$(outcome "${TRIED[unshare]}")
  case ${TRIED[unshare]} in
    works | unknown) finding 'unshare(CLONE_FILES)' ok "$found" works ;;
    *)
      finding 'unshare(CLONE_FILES)' advice "$found" works \
        'cores share one descriptor table: they contend for it, and RLIMIT_NOFILE counts for the process in place of each core' \
        'a seccomp profile that allows unshare (docker: --security-opt seccomp=FILE)'
      ;;
  esac
}

# The hard limit counts: the server raises the soft one to it.
judge_descriptors() {
  local hard cores each='for the process' mend="ulimit -Hn $DESCRIPTORS as root (systemd: LimitNOFILE=$DESCRIPTORS)"
  hard=$(ulimit -Hn)
  [ "${TRIED[unshare]}" != works ] || each='for each core'
  if [ "${hard/unlimited/$UNLIMITED}" -ge "$DESCRIPTORS" ]; then
    finding RLIMIT_NOFILE ok "$hard" "$DESCRIPTORS $each"
  else
    cores=$(cores_that_suffice "$hard")
    finding RLIMIT_NOFILE short "$hard" "$DESCRIPTORS $each" \
      'accept fails with EMFILE beyond it: fewer connections can be held' \
      "$mend${cores:+, or serve with --cores $cores}"
  fi
}

# Until 5.12 the memory of rings was counted.
judge_locked_bytes() {
  local kibibytes found wanted=$(((512 << 10) * CORES))
  kibibytes=$(ulimit -Hl)
  found=$kibibytes
  [ "$kibibytes" = unlimited ] || found=$((kibibytes * 1024))
  if kernel_is_at_least 5 12; then
    finding RLIMIT_MEMLOCK ok "$found" 'any: this kernel does not count rings'
  elif [ "${found/unlimited/$UNLIMITED}" -ge "$wanted" ]; then
    finding RLIMIT_MEMLOCK ok "$found" "$wanted bytes"
  else
    finding RLIMIT_MEMLOCK advice "$found" "$wanted bytes" \
      'rings cannot be had: the server falls back to epoll, and says so' \
      "ulimit -Hl $((wanted >> 10)) as root (systemd: LimitMEMLOCK=$wanted)"
  fi
}

judge_cpus() {
  if [ "$(count "$CPUS_ALLOWED")" -ge 2 ]; then
    finding CPUs ok "$(shortened "$CPUS_ALLOWED")" '2 or more'
  else
    finding CPUs advice "${CPUS_ALLOWED:-not known}" '2 or more' \
      'core threads and the control plane share one CPU' 'a larger CPU set (taskset, cpuset, limits)'
  fi
}

# What no setting of the host mends, but the server's own or another program; one in a line.
notes() {
  local interface node cpus
  if [ -e "$ROOT/sys/devices/system/node/node1" ]; then
    for interface in $(interfaces); do
      node=$(words "$ROOT/sys/class/net/$interface/device/numa_node") || continue
      cpus=$(words "$ROOT/sys/devices/system/node/node$node/cpulist") || continue
      echo "$interface is on NUMA node $node: keep the cores there (cores.cpus = \"$cpus\"), their memory follows"
    done
  fi
  if [ "$STEER" != keep ] && [ -z "$ROOT" ] && pgrep -x irqbalance >/dev/null; then
    echo 'irqbalance runs, and will undo irq.affinity: systemctl disable --now irqbalance, or --steer keep'
  fi
}

# A setting that has a need; none if this kernel or container does not have it.
judge_sysctl() {
  local name=$1 current found wanted unit='' mend
  current=$(words "$ROOT/proc/sys/${name//./\/}") || return 0
  wanted=$((${NEED[$name]}))
  if [ "${RULE[$name]}" = range ]; then
    found=$((${current#* } + 1 - ${current% *}))
    unit=' ports' mend="sysctl -w $name='1024 65535'"
  else
    found=$(cut -d' ' -f"${NEED_WORD[$name]:-1}" <<<"$current")
    mend="sysctl -w $name=$wanted"
    [ -z "${NEED_WORD[$name]:-}" ] || mend="sysctl -w $name='$((wanted * 3 / 4)) $wanted $((wanted * 3 / 2))'"
  fi
  local shown=$found
  [ -z "$unit" ] || shown="$current ($found ports)"
  if [ "$found" -ge "$wanted" ]; then
    finding "$name" ok "$shown" "$wanted$unit"
  else
    finding "$name" "${LACKING[$name]}" "$shown" "$wanted$unit" "${COST[$name]:-${WHY[$name]}}" "$mend"
  fi
}
