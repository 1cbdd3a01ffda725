//! The checker itself, on histories with one fault planted in each: it is found, and nothing else.

use crate::history::{History, Message, Place, Promise, Record};
use crate::verdict::{Excuses, Fault, How, verdict};

const PROMISES: [Promise; 2] = [Promise::Announced, Promise::Exact];
const COUNT: u64 = 9;

fn message(number: u64) -> Message {
    Message { publisher: 0, number }
}

fn at(room: usize, offset: u64) -> Place {
    Place { room, epoch: room, offset }
}

fn delivered(room: usize, offset: u64) -> Record {
    // Odd numbers go to one room, even ones to the other.
    Record::Delivered(at(room, offset), message(offset * 2 + room as u64))
}

/// One who publishes to both rooms.
fn publisher() -> History {
    let pairs = (1..=COUNT).flat_map(|offset| [(0, offset), (1, offset)]);
    pairs
        .flat_map(|(room, offset)| {
            let message = message(offset * 2 + room as u64);
            [Record::Publishing(room, message), Record::Published(message, at(room, offset))]
        })
        .collect()
}

fn joined(room: usize) -> [Record; 2] {
    [Record::Joining(room), Record::Joined { at: at(room, 0), since: None, recovered: false }]
}

/// One who hears all of a room, up to the end.
fn listener(room: usize) -> History {
    let mut history = joined(room).to_vec();
    history.extend((1..=COUNT).map(|offset| delivered(room, offset)));
    history.push(Record::Settled);
    history
}

/// Where in a listener's history an offset is.
fn index(offset: u64) -> usize {
    1 + usize::try_from(offset).unwrap()
}

/// One who is cut after the fourth of a room, and comes back.
fn returner(room: usize, repeats_from: u64) -> History {
    let mut history = listener(room);
    history.truncate(index(5));
    history.extend([
        Record::Closed,
        Record::Welcome { resumed: true },
        Record::Arrived { at: at(room, COUNT), recovered: true },
    ]);
    history.extend((repeats_from..=COUNT).map(|offset| delivered(room, offset)));
    history.push(Record::Settled);
    history
}

fn faults(histories: &[History]) -> Vec<Fault> {
    faults_with(histories, Excuses::default())
}

fn faults_with(histories: &[History], excuses: Excuses) -> Vec<Fault> {
    let (findings, _) = verdict(histories, &PROMISES, excuses);
    findings.into_iter().map(|finding| finding.fault).collect()
}

fn faults_of(reader: History) -> Vec<Fault> {
    faults(&[publisher(), reader])
}

#[test]
fn sound_histories_have_no_faults() {
    let mut leaver = listener(0);
    leaver.truncate(index(5));
    leaver.extend([Record::Leaving(0), delivered(0, 5), Record::Left(0), Record::Settled]);
    let mut gap = listener(0);
    gap.splice(index(4)..index(7), [Record::Gap(at(0, 4), 6)]);
    let mut gap_at_the_end = listener(0);
    gap_at_the_end.splice(index(8)..=index(9), [Record::Gap(at(0, 8), 9)]);
    let mut back = listener(1);
    back.truncate(index(5));
    let since = Some(at(1, 4));
    back.extend([
        Record::Closed,
        Record::Joining(1),
        Record::Joined { at: at(1, 7), since, recovered: true },
    ]);
    back.extend((5..=COUNT).map(|offset| delivered(1, offset)));
    for history in [listener(0), listener(1), leaver, gap, gap_at_the_end, back] {
        assert_eq!(faults_of(history), []);
    }
    for repeats_from in 1..=5 {
        assert_eq!(faults_of(returner(1, repeats_from)), []);
    }
}

#[test]
fn a_dropped_delivery_is_found() {
    for offset in 1..=COUNT {
        for room in 0..2 {
            let mut history = listener(room);
            history.remove(index(offset));
            assert_eq!(faults_of(history), [Fault::Lost(at(room, offset), offset)]);
        }
    }
    assert_eq!(faults_of(returner(1, 7)), [Fault::Lost(at(1, 5), 6)]);
}

#[test]
fn a_delivery_that_a_gap_does_not_cover_is_found() {
    let mut history = listener(0);
    history.splice(index(4)..index(7), [Record::Gap(at(0, 4), 5)]);
    assert_eq!(faults_of(history), [Fault::Lost(at(0, 6), 6)]);
}

#[test]
fn a_repeated_delivery_is_found() {
    for offset in 1..=COUNT {
        for later in offset..=COUNT {
            let mut history = listener(0);
            history.insert(index(later) + 1, delivered(0, offset));
            assert_eq!(faults_of(history), [Fault::Repeated(at(0, offset))]);
        }
    }
}

#[test]
fn a_repeat_of_what_was_acknowledged_is_found() {
    let mut history = returner(1, 3);
    history.insert(index(4), Record::Acknowledged(at(1, 3)));
    assert_eq!(faults_of(history), [Fault::Repeated(at(1, 3))]);
}

#[test]
fn a_repeat_in_a_second_round_is_found() {
    let mut history = returner(1, 3);
    let last = history.len() - 1;
    history.insert(last, delivered(1, 4));
    assert_eq!(faults_of(history), [Fault::Repeated(at(1, 4))]);
}

#[test]
fn reordered_deliveries_are_found() {
    for offset in 1..COUNT {
        let mut history = listener(0);
        history.swap(index(offset), index(offset + 1));
        assert_eq!(faults_of(history), [Fault::Reordered(at(0, offset))]);
    }
}

#[test]
fn a_delivery_after_the_ok_of_leave_is_found() {
    let mut history = listener(0);
    history.insert(index(5), Record::Left(0));
    let late: Vec<_> = (5..=COUNT).map(|offset| Fault::Outside(at(0, offset))).collect();
    assert_eq!(faults_of(history), late);
}

#[test]
fn a_delivery_before_the_ok_of_join_is_found() {
    let mut history = listener(0);
    history.swap(1, index(1));
    assert_eq!(faults_of(history)[0], Fault::Outside(at(0, 1)));
}

#[test]
fn inexact_recovery_is_found() {
    let mut history = listener(1);
    history[1] = Record::Joined { at: at(1, 0), since: Some(at(1, 0)), recovered: false };
    assert_eq!(faults_of(history), [Fault::Inexact(at(1, 0), How::Joined(0))]);
    let mut history = listener(1);
    history[index(5)] = Record::Gap(at(1, 5), 5);
    assert_eq!(faults_of(history), [Fault::Inexact(at(1, 5), How::Gap(5))]);
}

#[test]
fn what_nobody_published_is_found() {
    let mut history = listener(0);
    let stranger = Message { publisher: 7, number: 1 };
    history[index(5)] = Record::Delivered(at(0, 5), stranger);
    assert!(faults_of(history).contains(&Fault::Foreign(at(0, 5), stranger)));
}

#[test]
fn another_rooms_message_is_found() {
    let mut history = listener(0);
    history[index(5)] = Record::Delivered(at(0, 5), message(11));
    assert!(faults_of(history).contains(&Fault::Foreign(at(0, 5), message(11))));
}

#[test]
fn two_messages_of_one_offset_are_found() {
    let mut history = listener(0);
    history[index(5)] = Record::Delivered(at(0, 5), message(12));
    assert_eq!(faults_of(history), [Fault::Contradiction(at(0, 5), message(12))]);
}

#[test]
fn publications_out_of_their_publishers_order_are_found() {
    let mut first = publisher();
    let (one, other) = (message(4), message(6));
    for record in &mut first {
        match record {
            Record::Published(message, place) if *message == one => place.offset = 3,
            Record::Published(message, place) if *message == other => place.offset = 2,
            _ => {}
        }
    }
    assert_eq!(faults(&[first]), [Fault::Overtaken(at(0, 2), other)]);
}

#[test]
fn an_offset_that_was_skipped_is_found() {
    let mut first = publisher();
    first.retain(|record| {
        !matches!(record, Record::Publishing(_, it) | Record::Published(it, _) if *it == message(8))
    });
    assert_eq!(faults(&[first.clone()]), [Fault::Unused(at(0, 4), 0)]);
    let mut told = listener(0);
    told[index(4)] = Record::Gap(at(0, 4), 4);
    assert_eq!(faults(&[first, told]), [Fault::Unused(at(0, 4), 1)]);
}

#[test]
fn when_a_fault_fell_is_known() {
    let mut first = publisher();
    first.retain(|record| {
        !matches!(record, Record::Publishing(_, it) | Record::Published(it, _) if *it == message(8))
    });
    first.insert(0, Record::Round(2));
    let mut history = listener(1);
    history.insert(index(5), Record::Round(7));
    history.remove(index(7));
    let (findings, _) = verdict(&[first, history], &PROMISES, Excuses::default());
    let found: Vec<_> = findings.iter().map(|it| (it.kind(), it.round)).collect();
    assert_eq!(found, [("Unused".to_owned(), 2), ("Lost".to_owned(), 7)]);
}

#[test]
fn a_publish_without_an_answer_is_found() {
    let mut first = publisher();
    let unanswered = Message { publisher: 0, number: 99 };
    first.push(Record::Publishing(0, unanswered));
    assert_eq!(faults(&[first.clone()]), [Fault::Unanswered(unanswered)]);
    first.push(Record::Closed);
    assert_eq!(faults(&[first]), []);
}

#[test]
fn a_session_that_is_forgotten_is_found() {
    let ends = [Record::Closed, Record::Welcome { resumed: false }, Record::Settled];
    let history = joined(0).into_iter().chain(ends).collect();
    assert_eq!(faults_of(history), [Fault::Forgotten]);
    let ends = [Record::Closed, Record::Welcome { resumed: true }, Record::Settled];
    let history = joined(0).into_iter().chain(ends).collect();
    assert_eq!(faults_of(history), [Fault::RoomForgotten(0)]);
}

#[test]
fn an_end_without_a_word_is_found() {
    let mut history = listener(0);
    history.push(Record::Vanished);
    assert_eq!(faults_of(history), [Fault::Vanished]);
}

#[test]
fn a_redelivery_of_what_was_acknowledged_is_found() {
    let again = |offset: u64| {
        let Record::Delivered(place, message) = delivered(0, offset) else { unreachable!() };
        Record::Redelivered(place, message)
    };
    let mut history = listener(0);
    history.insert(index(7), again(4));
    assert_eq!(faults_of(history.clone()), []);
    history.insert(index(5), Record::Acknowledged(at(0, 4)));
    assert_eq!(faults_of(history), [Fault::Repeated(at(0, 4))]);
}

#[test]
fn a_new_life_that_somebody_is_not_told_of_is_found() {
    let reborn = |offset| Place { room: 0, epoch: 2, offset };
    let message = |offset| Message { publisher: 1, number: offset };
    let rest = |history: &mut History| {
        history.extend((2..=3).map(|n| Record::Delivered(reborn(n), message(n))));
        history.push(Record::Settled);
    };
    let epochs = Excuses { epochs: true, ..Excuses::default() };
    let mut other: History = (2..=3).map(|n| Record::Publishing(0, message(n))).collect();
    other.push(Record::Closed);
    let mut told = listener(0);
    told.pop();
    told.push(Record::Reborn(reborn(1), 1));
    rest(&mut told);
    let mut untold = listener(0);
    untold.pop();
    rest(&mut untold);
    let all = [publisher(), other, told];
    assert_eq!(faults_with(&all, epochs), []);
    let deaf = [all.as_slice(), &[listener(0)]].concat();
    assert_eq!(faults_with(&deaf, epochs), [Fault::Untold(at(0, COUNT))]);
    assert_eq!(faults(&all), [Fault::Inexact(reborn(1), How::Reborn)]);
    let [publisher, other, told] = all;
    let mut late = [2, 3].map(|n| Fault::Outside(reborn(n))).to_vec();
    late.push(Fault::Untold(at(0, COUNT)));
    assert_eq!(faults_with(&[publisher, other, told, untold], epochs), late);
}
