//! What is said on a room's channel, as text before the publication: `P` and a place, `E` and a
//! place, or `T`; then a line end, then the publication. `S` and a mark: then a node, and what it says of
//! who is there; `G` and a mark: then a node of which nothing holds any more.
//! `D` and a mark: then what was decided. `I`: then to what the user, whose room it is, is invited.
//!
//! Invariant: whatever stands there, reading it gives news or nothing.

use crate::room::attendance::{Mark, Step, wire};
use crate::room::broker::{FromBroker, News};
use crate::room::charter::{self, Amendment};
use crate::room::invited::Invited;
use crate::room::name::RoomKey;

use super::desk::Desk;
use super::nodes::node_number;

/// How long the name of a node is.
const NODE_BYTES: usize = 16;
/// The longest epoch.
const EPOCH_BYTES: usize = 64;

/// Something was said on a room's channel: hands it to the room's home, or word that it missed something.
pub(super) fn hear(room: RoomKey, payload: &[u8], desk: &mut Desk) {
    let Some(core) = desk.watch.get(&room).map(|watched| watched.core) else { return };
    match read(payload, desk.config.limits.depth) {
        Some(news) if !desk.port.is_over(core) => desk.post(core, FromBroker::News { room, news }),
        Some(_) => desk.owe(room),
        None => {
            desk.metrics.unreadable.add(1);
            tracing::warn!(?core, "news that no node of this version tells");
        }
    }
}

/// What was said; none if nobody of us says that.
fn read(payload: &[u8], depth: u8) -> Option<News> {
    let (kind, rest) = payload.split_first()?;
    let end = memchr::memchr(b'\n', rest)?;
    let (line, wire) = (&rest[..end], &rest[end + 1..]);
    match kind {
        b'P' => {
            let (epoch, offset) = place(line)?;
            Some(News::Publication { epoch: epoch.into(), offset, wire: wire.into() })
        }
        b'E' if wire.is_empty() => {
            let (epoch, offset) = place(line)?;
            Some(News::Epoch { epoch: epoch.into(), offset })
        }
        b'S' | b'G' => {
            let (life, number) = place(line)?;
            let (node, said) = wire.split_at_checked(NODE_BYTES)?;
            let said = match kind {
                b'S' => Some(wire::read(said, depth)?),
                _ => said.is_empty().then_some(None)?,
            };
            let mark = Mark { life: life.into(), number };
            Some(News::Attendance(Step { mark, node: node_number(node)?, said }))
        }
        b'D' => {
            let (life, number) = place(line)?;
            let (manner, entries, decided) = charter::wire::read(wire)?;
            let mark = Mark { life: life.into(), number };
            Some(News::Amendment(Box::new(Amendment { mark, manner, entries, decided })))
        }
        b'I' if line.is_empty() => Some(News::Invited(Invited::read(wire)?.into())),
        b'T' if line.is_empty() => Some(News::Transient { wire: wire.into() }),
        _ => None,
    }
}

/// A publication without a place, as it is said.
pub(super) fn write_transient(wire: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(wire.len() + 2);
    payload.extend_from_slice(b"T\n");
    payload.extend_from_slice(wire);
    payload
}

/// `EPOCH OFFSET`
fn place(line: &[u8]) -> Option<(&str, u64)> {
    let (epoch, offset) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let offset = offset.parse().ok().filter(|offset| *offset > 0)?;
    (1..=EPOCH_BYTES).contains(&epoch.len()).then_some((epoch, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_nothing_else() {
        let wire: Box<[u8]> = b"a\nb".as_slice().into();
        let step = |node| Step {
            mark: Mark { life: "x".into(), number: 3 },
            node,
            said: Some((2, Vec::new())),
        };
        let publication = News::Publication { epoch: "1.x".into(), offset: 12, wire: wire.clone() };
        for (payload, news) in [
            (b"P1.x 12\na\nb".as_slice(), Some(publication)),
            (b"E2.y 1\n", Some(News::Epoch { epoch: "2.y".into(), offset: 1 })),
            (b"Gx 3\n00000000000000ff", Some(News::Attendance(Step { said: None, ..step(255) }))),
            (b"Sx 3\n0000000000000001\x92\x02\x90", Some(News::Attendance(step(1)))),
            (b"Gx 3\n00000000000000ffmore", None),
            (b"Gx 3\n00000000000000f", None),
            (b"Sx 3\n0000000000000001", None),
            (&write_transient(&wire), Some(News::Transient { wire })),
            (b"", None),
            (b"P", None),
            (b"P1.x 12", None),
            (b"P1.x 0\n", None),
            (b"P 1\n", None),
            (b"P1.x -1\n", None),
            (b"P1.x 99999999999999999999\n", None),
            (b"P\xff 1\n", None),
            (b"E2.y 1\nmore", None),
            (b"T1\n", None),
            (b"X1.x 1\n", None),
        ] {
            assert_eq!(read(payload, 8), news, "{}", payload.escape_ascii());
        }
    }
}
