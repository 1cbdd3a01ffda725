#!/usr/bin/env bash
# Plants one bug at a time in a copy of the source and expects the simulator to find it: the runs from
# seeds, or the races of decisions with what they forbid. Those of the bridge are for its own simulator
# (src/bridge/tests).
#
#   tests/sim/mutations.sh              the first two, for CI
#   tests/sim/mutations.sh all          all of them, with a table
#   tests/sim/mutations.sh NAME …       these
#   tests/sim/mutations.sh --check      none: only whether each still finds its place in the source
#
# RINGROOM_SIM_SEEDS says how many seeds each gets (1,000), RINGROOM_SIM_SEED the first one (1).
# Ends with 1 if a bug was not found, with 2 if one no longer applies or does not compile.
set -euo pipefail
cd "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"

# name | file | what is there | what is planted: literal text, once in the file or the first time.
read -r -d '' bugs <<'BUGS' || true
lost-wake|src/shard/fanout.rs|if was_empty && !slot.outbox.is_held() {|if was_empty && slot.outbox.is_held() {
filter-ignored-on-replay|src/shard/command/join.rs|if !(Reader { connection, interest, now }).takes_again(publication) {|if false {
offset-skipped|src/room/home/publish.rs|self.offset() + 1 };|self.offset() + 1 + u64::from(self.offset() % 7 == 6) };
leave-does-not-settle|src/shard/command/leave.rs|self.settle_room(index);\n        self.unseat(key, index);|self.unseat(key, index);
gap-dropped|src/shard/outbox/shed.rs|self.push_gap(&run.label.room, (from, to), GapReason::SlowConsumer, terms.codec, pool);|let _ = (from, to);
presence-leave-lost|src/room/presence.rs|(Told::Present { .. }, None) => tell(&user, Change::Leave),|(Told::Present { .. }, None) => {}
key-forgotten|src/room/home/publish.rs|.note(key, offset, now.moment);|.note("", offset, now.moment);
ttl-ignored|src/shard/outbox/shed.rs|label.expires.is_some_and(\|expires\| expires <= now)|label.expires.is_some_and(\|expires\| expires <= now) && false
replay-one-late|src/room/history.rs|self.entries.range(self.first_after(offset)..)|self.entries.range(self.first_after(offset + 1)..)
takeover-keeps-the-old|src/shard/departure.rs|self.close(key, CloseReason::Replaced);|
position-too-far|src/shard/life.rs|membership.pinged = room.map_or(0, \|room\| room.offset);|membership.position = room.map_or(0, \|room\| room.offset);
priority-overtakes-in-a-room|src/shard/outbox.rs|&& !before.same_room(&run.label.room) =>|=>
exclude-self-ignored|src/shard/eligible.rs|&& !self.is_excluded(publication)|
overrun-not-told|src/shard/fanout.rs|if lost.last_offset() == 0 {|if lost.last_offset() < u64::MAX {
session-leaks-its-rooms|src/shard/departure.rs|if let Some(snapshot) = self.sessions.expire(session) {|if let Some(snapshot) = self.sessions.expire(session).filter(\|it\| it.rooms.len() > 9) {
expelled-without-a-word|src/shard/command/leave.rs|self.outbound.say(expel.connection, &event);|let _ = event;
batch-answered-early|src/shard/command/mod.rs|batch.left += 1;|batch.left += u32::from(batch.left > 1);
gap-not-owed-again|src/shard/command/join.rs|Some(kept) if joined.gap.is_some() => {|Some(kept) if joined.gap.is_some() && joined.offset > 9_999 => {
state-lost-on-resume|src/shard/opening.rs|rare.state = snapshot.state;|
mute-ignored|src/room/standing.rs|Action::Publish => match self.muted {|Action::Publish => match self.muted.filter(\|_\| false) {
pattern-before-its-answer|src/shard/fanout/subscribers.rs|it.holds && it.pattern.matches(name)|it.pattern.matches(name)
replay-not-owed-again|src/shard/command/join.rs|_ => joined.replay.first().map_or(joined.offset, \|first\| first.offset - 1),|_ => joined.offset,
acknowledgement-lost|src/room/home/cursor.rs|cursor.acknowledged = offset;|let _ = (&cursor, offset);
never-sent-again|src/room/home/cursor.rs|cursors.next_check.get_or_insert(now.plus_ms(timeout_ms));|let _ = (cursors, now, timeout_ms);
return-plans-nothing|src/shard/command/join.rs|home.expect_acknowledgement_of(request.address, now.moment, ack_timeout_ms);|let _ = ack_timeout_ms;
second-copy-not-marked|src/shard/command/join.rs|publication.offset <= joined.redelivers|publication.offset < joined.redelivers
sent-again-too-early|src/room/home/cursor.rs|publication.published.plus_ms(timeout_ms) <= now|publication.published.plus_ms(timeout_ms / 2) <= now
cursor-of-each-session|src/room/home/cursor.rs|user.or(self.session.map(ReaderId::Session))|self.session.map(ReaderId::Session).or(user)
expired-sent-again|src/shard/command/ack.rs|if expired \|\| !reader.takes_again(publication) {|if !reader.takes_again(publication) {
cursor-goes-back|src/room/home/cursor.rs|&& cursor.acknowledged < offset|&& cursor.acknowledged != offset
lost-not-told|src/room/home/cursor.rs|let lost = (dropped > seen).then_some((seen + 1, dropped));|let lost = None::<(u64, u64)>;
one-message-too-many|src/bucket.rs|if missing == 0 {|if missing <= quota.period_us {
retry-a-little-early|src/bucket.rs|missing.div_ceil(rate).div_ceil(1_000)|missing.div_ceil(rate) / 1_000
echo-in-another-opcode|src/shard/echo.rs|MessageKind::Binary => Opcode::Binary,|MessageKind::Binary => Opcode::Text,
revocation-of-all-ignored|src/auth/revocation.rs|\|\| holds(Revoked::Tenant, false)|
revocation-a-moment-too-long|src/auth/revocation.rs|at < held.issued_before_ms|at <= held.issued_before_ms
epoch-not-compared-on-opening|src/bridge/script/open.lua|if not epoch or ahead then|if not epoch then
key-not-looked-up|src/bridge/script/publish.lua|if first then|if first and first == '' then
lapsed-not-told|src/bridge/call/beat.rs|for node in lapsed {|for node in lapsed.into_iter().skip(1) {
room-never-ended|src/bridge/hearing.rs|self.ask(Box::new(End { room, again: false }));|let _ = room;
asked-before-it-is-heard|src/bridge/watch.rs|watched.ear = Listening::Asked(line);|watched.ear = Listening::Yes(line);
key-kept-too-short|src/bridge/script/publish.lua|'PX', ARGV[10])|'PX', '1')
key-forgets-its-place|src/bridge/script/publish.lua|tonumber(string.sub(first, place + 1))|offset
repeated-key-writes-nothing|src/bridge/script/publish.lua|redis.call('PEXPIRE', KEYS[1], ARGV[9])\n    local place|local place
epoch-not-compared-on-publishing|src/bridge/script/publish.lua|if not epoch or ahead then|if not epoch then
first-place-given-away|src/bridge/script/publish.lua|offset = 1\n|offset = 0\n
former-history-stays|src/bridge/script/publish.lua|redis.call('DEL', KEYS[2])\n    if ahead|if ahead
never-too-many-bytes|src/bridge/script/publish.lua|bytes - up_to + #wire > bytes_max|false
never-too-old|src/bridge/script/publish.lua|(at_ms(wire) or oldest) < oldest|false
published-where-memory-is-full|src/bridge/script/publish.lua|#!lua\n|#!lua flags=allow-oom\n
stamp-not-compared|src/bridge/script/open.lua|ahead = there ~= ARGV[4] and|ahead = false and
first-missed-left-out|src/bridge/script/open.lua|from + 1)|from + 2)
ended-under-listeners|src/bridge/script/end.lua|~= 0 then return 0 end|< 0 then return 0 end
ended-though-somebody-said|src/bridge/script/end.lua|if is_node and (|if false and (
void-places-count|src/bridge/script/enter.lua|(known and known > tonumber(link))|false
late-word-counts|src/bridge/script/enter.lua|tonumber(link) > tonumber(own_link) then|false then
loss-not-noticed|src/bridge/script/beat.lua|{redis.call('ZADD', KEYS[1]|{0 * redis.call('ZADD', KEYS[1]
farewell-ignored|src/bridge/script/beat.lua|redis.call('ZREM', KEYS[1], ARGV[1])\n|
others-word-kept|src/bridge/script/keep_session.lua|if own <= since then return 0 end|
session-taken-without-asking|src/bridge/script/fetch_session.lua|and not is_passed_over then|and false then
passed-over-too-late|src/bridge/script/fetch_session.lua|and was == tonumber(ARGV[5])|
calls-not-read|src/bridge/script/patterns.lua|calls = redis.call('XRANGE', KEYS[4], from, '+')|calls = {}
received-by-nobody|src/bridge/script/patterns.lua|redis.call('HSET', KEYS[1], own, ARGV[2])|
call-without-its-life|src/bridge/script/call.lua|'r', ARGV[3], 'e', ARGV[4]|'r', ARGV[3], 'e', ''
moved-room-in-doubt|src/bridge/watch.rs|is_some_and(\|at\| *at <= met)|is_some_and(\|at\| *at <= met && false)
deaf-to-what-is-asked-twice|src/bridge/hearing.rs|if !self.desk.watch.is_wanted(channel, number)|if self.desk.watch.heard(channel).is_none()
overtaken-by-way-of-the-new-server|src/bridge/uplink.rs|self.heed_moves(&before);|let _ = before;
echo-awaited-from-before|src/bridge/hearing.rs|self.desk.echo.forget();|
place-not-given-back|src/bridge/queue.rs|taken.bytes -= self.bytes;|
BUGS

case "${1-}" in
'') bugs=$(head -n 2 <<<"$bugs") ;;
all | --check) ;;
*) bugs=$(grep -E "^($(IFS='|'; echo "$*"))\|" <<<"$bugs") ;;
esac

copy=${RINGROOM_SIM_COPY-$PWD/target/mutations}
mkdir -p "$copy"
export CARGO_TARGET_DIR=$copy/target CARGO_PROFILE_TEST_OPT_LEVEL=${CARGO_PROFILE_TEST_OPT_LEVEL-0}
export RINGROOM_SIM_SEEDS=${RINGROOM_SIM_SEEDS-1000} RINGROOM_SIM_SEED=${RINGROOM_SIM_SEED-1}

# A file with literal text of it replaced; fails if that is not there.
planted() {
	FROM=$2 TO=$3 perl -0pe '
		my ($from, $to) = map { s/\\n/\n/gr =~ s/\\\|/|/gr } @ENV{qw(FROM TO)};
		my $at = index $_, $from;
		$at < 0 ? exit 2 : substr $_, $at, length $from, $to' "$1"
}

survivors=0 broken=0
while IFS=$'\t' read -r name file from to; do
	if ! planted "$file" "$from" "$to" >"$copy/planted"; then
		printf '%-30s is nowhere in %s\n' "$name" "$file"
		broken=1
		continue
	fi
	[ "${1-}" != --check ] || continue
	rm -rf "$copy/tree" && mkdir "$copy/tree"
	git ls-files -z | xargs -0 cp --preserve=mode,timestamps --parents -t "$copy/tree"
	cp "$copy/planted" "$copy/tree/$file"
	case $file in
	src/bridge/*) target=--lib runs=(bridge::) long=(bridge::tests::seeds::bridges --ignored) ;;
	*) target='--test sim' runs=(every_seed races) long=() ;;
	esac
	# shellcheck disable=SC2086 # it is two words
	if ! (cd "$copy/tree" && cargo test -q $target --no-run) >"$copy/$name.log" 2>&1; then
		printf '%-30s does not compile, see %s\n' "$name" "$copy/$name.log"
		broken=1
	elif (cd "$copy/tree" && cargo test -q $target -- "${runs[@]}" &&
		{ [ ${#long[@]} = 0 ] || cargo test -q $target -- "${long[@]}"; }) >"$copy/$name.log" 2>&1; then
		printf '%-30s SURVIVED\n' "$name"
		survivors=1
	else
		what=$(grep -a -m1 '^seed ' "$copy/$name.log" || grep -a -m1 -A1 'panicked at' "$copy/$name.log" | tail -n 1)
		printf '%-30s %s\n' "$name" "${what:0:110}"
	fi
done < <(sed -E 's/\\\|/\x01/g; s/\|/\t/g; s/\x01/\\|/g' <<<"$bugs")
exit $((broken ? 2 : survivors))
