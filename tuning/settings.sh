# shellcheck shell=bash
# The settings, each once: check.sh, apply.sh and revert.sh read this table and hold none themselves.
#
#   setting NAME KIND RULE    begins a setting; KIND is a function in lib/places.sh that finds its places
#   profile NAME VALUE        what the profile wants; a setting without it is left alone there. STEER is
#                             what --steer says, STEER_ASKED the same and nothing if it says nothing
#   need [WORD] EXPRESSION    what `ringroom probe` asks of it (of its WORDth word), for $CONNECTIONS
#                             on $CORES; from below, it is judged as `lacking` says
#   lacking short|advice      short: so many connections cannot be held; advice: it works, but worse
#   only_with NAME            left alone unless `--with NAME` asks for it
#   cost TEXT                 what it costs where there is less than the need, in the words of the
#                             probe; without it, that is why
#   why, effect, undo         for people
#
# RULE says when a value suffices: `least` (each word at least that), `most` (each at most), `exact`,
# `range` (a span at least as wide), `covers` (a set of ports that holds them), `choice` (the word in
# brackets), `mask` (a set of CPUs), `limits` (a file of our own, with a limit for each user that it was
# asked for), `present` (it is there).
#
# Invariant: `least` and `most` never take back what somebody has already set further.

readonly PROFILES=(50k 1m)

# How many connections each is for.
profile_connections() { case $1 in 50k) echo 50000 ;; 1m) echo 1000000 ;; *) return 1 ;; esac; }

readonly WRITE_BACK='the old value is written back'
readonly NOT_MEASURED='not measured here'

setting fs.file-max sysctl least
profile 50k 262144
profile 1m 2200000
need 'CONNECTIONS + CORES * SPARE_DESCRIPTORS'
lacking short
why 'accept fails with ENFILE beyond it, for every process of the host'
effect "$NOT_MEASURED; it is a bound, and costs nothing until it is met"
undo "$WRITE_BACK"

setting fs.nr_open sysctl least
profile 50k 1048576
profile 1m 2097152
need DESCRIPTORS
lacking short
why 'no limit of open files can be raised above it'
effect "$NOT_MEASURED; it is a bound, and costs nothing until it is met"
undo "$WRITE_BACK"

setting limits.nofile limits_file limits
profile 50k 131072
profile 1m 1200000
why "accept fails with EMFILE beyond it; a limit of the server's user (--user), at its next login." \
  "The systemd unit has its own. Never above fs.nr_open, or the login is refused: without --persist" \
  "that is 1048576 again after a restart"
effect "measured: under a hard limit of 20,000 one process held 52,000 connections on four cores," \
  "each with a table of its own; without that, the limit is the limit"
undo 'the file is removed'

setting net.core.somaxconn sysctl least
profile 50k 4096
profile 1m 16384
need 4096
lacking advice
cost 'caps the accept queue: when many connect at once, the rest retry after a second'
why 'caps the accept queue: when many connect at once, the rest retry after a second. Beyond 4096' \
  'raise tcp.backlog of the server with it'
effect 'measured by measure-accept-queue.sh, three rounds of 4,000 connections at once over loopback, 2' \
  'busy CPUs: with 128, 0 to 3,546 were turned away and it took 0.25 to 2.35 s until all were' \
  'answered; with 4096 none were, and it took 0.21 to 0.27 s'
undo "$WRITE_BACK"

setting net.ipv4.tcp_max_syn_backlog sysctl least
profile 50k 8192
profile 1m 65536
need 4096
lacking advice
why 'when many connect at once, half-open connections are dropped, or lose their options'
effect "$NOT_MEASURED; over loopback no handshake is half open for long enough"
undo "$WRITE_BACK"

setting net.core.netdev_max_backlog sysctl least
profile 50k 16384
profile 1m 65536
need 4096
lacking advice
why 'bursts over loopback and RPS lose packets before TCP sees them'
effect "$NOT_MEASURED; the second column of /proc/net/softnet_stat counts what is lost"
undo "$WRITE_BACK"

setting net.ipv4.tcp_mem sysctl least
profile 50k '75000 100000 150000'
profile 1m '1500000 2000000 3000000'
need 2 'CONNECTIONS * 2'
lacking advice
cost 'above this many pages the kernel shrinks windows, and at the third number it drops'
why 'above the second number of pages the kernel shrinks windows, and at the third it drops. Two' \
  'pages are a connection with a little unread or unacknowledged data'
effect "$NOT_MEASURED; an idle connection holds none of it"
undo "$WRITE_BACK"

setting net.ipv4.tcp_rmem sysctl most
profile 1m '4096 65536 1048576'
why 'bounds what a single peer may make the kernel keep unread: at a million connections the usual' \
  '6 MiB would be a way to take the host down'
effect "$NOT_MEASURED; idle connections hold none, and messages are small"
undo "$WRITE_BACK"

setting net.ipv4.tcp_wmem sysctl most
profile 1m '4096 16384 1048576'
why 'bounds what a peer that does not read may make the kernel keep; the rest stays in the outbox,' \
  'where limits.outbox_bytes counts it'
effect "$NOT_MEASURED"
undo "$WRITE_BACK"

setting net.ipv4.tcp_max_orphans sysctl least
profile 50k 65536
profile 1m 262144
why 'connections closed with bytes still unsent; beyond it they are reset, and a drain sends many' \
  'away at once'
effect "$NOT_MEASURED"
undo "$WRITE_BACK"

setting net.ipv4.tcp_max_tw_buckets sysctl least
profile 50k 65536
profile 1m 524288
why 'who closes first keeps the address in TIME_WAIT for a minute; beyond it they are cut short' \
  'without protection from late packets'
effect "$NOT_MEASURED; each costs 256 bytes of kernel memory (tw_sock_TCP in /proc/slabinfo)"
undo "$WRITE_BACK"

setting net.ipv4.tcp_slow_start_after_idle sysctl exact
profile 50k 0
profile 1m 0
why 'a connection that was quiet would begin with a small window again: a burst to a room then' \
  'takes more round trips on long paths'
effect "$NOT_MEASURED; over loopback there is no round trip to save"
undo "$WRITE_BACK"

setting net.ipv4.ip_local_port_range sysctl range
profile 50k '1024 65535'
profile 1m '1024 65535'
need 'CONNECTIONS < 64512 ? CONNECTIONS : 64512'
lacking advice
why 'a proxy or load generator on this host holds no more connections to one address from each of' \
  'its own'
effect 'counted: 64,512 ports in place of the usual 28,232; beyond that take more source addresses'
undo "$WRITE_BACK"

setting net.ipv4.ip_local_reserved_ports sysctl covers
profile 50k PORTS
profile 1m PORTS
why 'with the wider range an outgoing connection could take the port of a server that is just' \
  'being restarted; what listens here (--ports) is kept out'
effect "$NOT_MEASURED"
undo "$WRITE_BACK"

setting net.netfilter.nf_conntrack_max sysctl least
profile 50k 262144
profile 1m 2097152
need 'CONNECTIONS + TRACKED'
lacking short
cost 'connections beyond it are dropped without a word, of every service here'
why 'connections beyond it are dropped without a word, of every service here; only where the' \
  'module is loaded'
effect "$NOT_MEASURED; an entry costs 256 bytes of kernel memory (nf_conntrack in /proc/slabinfo)"
undo "$WRITE_BACK"

setting conntrack.bypass notrack present
only_with notrack
profile 50k PORTS
profile 1m PORTS
why 'takes the ports of the server (--ports) off connection tracking: no entry, no look-up for each' \
  'packet. Not with published container ports or other address translation, nor with firewall rules' \
  'that ask for the state of a connection: those need the entry'
effect 'measured by measure-conntrack.sh, seven rounds of echoes over loopback with a firewall that tracks:' \
  'no entries in place of 200; CPU for each message 0.93 to 1.06 times, 0.99 in the middle, which is' \
  'the noise of a busy machine'
undo 'the table of nftables is deleted'

setting net.core.busy_poll sysctl least
only_with busy-polling
profile 50k 50
profile 1m 50
why 'microseconds that poll, select and epoll look at the network card before they sleep: less' \
  'latency for a whole CPU. For `cores.driver = "epoll"` only, a ring does not look at it'
effect "$NOT_MEASURED; needs a card whose driver can, loopback is none"
undo "$WRITE_BACK"

setting net.core.busy_read sysctl least
only_with busy-polling
profile 50k 50
profile 1m 50
why 'the same for a blocking read, and the default of SO_BUSY_POLL, without which the setting above' \
  'finds no socket to look at'
effect "$NOT_MEASURED; needs a card whose driver can, loopback is none"
undo "$WRITE_BACK"

setting cpu.governor governor exact
profile 50k performance
profile 1m performance
why 'a CPU that has clocked down needs milliseconds to come back: seen as latency after a quiet' \
  'moment'
effect "$NOT_MEASURED; virtual machines have none to set"
undo "$WRITE_BACK"

setting thp.enabled transparent_huge_pages choice
profile 50k madvise
profile 1m madvise
why 'many small buffers, some freed: with `always` a huge page stays whole for one that is left, and' \
  'khugepaged takes CPU from the cores'
effect "$NOT_MEASURED"
undo "$WRITE_BACK"

setting kernel.numa_balancing sysctl exact
profile 50k 0
profile 1m 0
why 'core threads are pinned and never move: looking for a better place unmaps pages for nothing.' \
  'Keep the cores on the node of the network card: cores.cpus of the server'
effect "$NOT_MEASURED; needs a host with two nodes"
undo "$WRITE_BACK"

setting net.rps receive_steering mask
profile 50k STEER_ASKED
profile 1m STEER
why "a card with fewer queues than CPUs raises all its interrupts on few of them; RPS spreads the" \
  "packets over the others. With a queue for each CPU it is turned off: it would only add a hop"
effect "$NOT_MEASURED; needs a network card"
undo "$WRITE_BACK"

setting net.xps transmit_steering mask
profile 50k STEER_ASKED
profile 1m STEER
why 'each CPU sends by a queue of its own, so that cores do not wait for one another in the driver;' \
  'where there is more than one'
effect "$NOT_MEASURED; needs a network card"
undo "$WRITE_BACK"

setting irq.affinity interrupt_steering exact
profile 50k STEER_ASKED
profile 1m STEER
why "onto the cores: a packet is worked on where its connection may live, and no CPU is lost; away" \
  "from them (--steer away): the cores are not interrupted, for hosts with CPUs to spare. irqbalance" \
  "undoes it: stop it"
effect "$NOT_MEASURED; needs a network card"
undo "$WRITE_BACK"
