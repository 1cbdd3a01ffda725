//! What a connection holds, and when it lets go of it.

use super::peer::{
    BINARY, CLOSE, CONTINUATION, Connection, FIN, LIMITS, PING, RSV1, TEXT, binary, frame, header,
};
use crate::ws::decoder::{Decoder, Limits};

#[test]
fn a_decoder_is_sixteen_bytes() {
    assert_eq!(size_of::<Decoder>(), 16);
}

#[test]
fn a_connection_between_messages_holds_nothing() {
    let streams = [
        frame(FIN | TEXT, b"whole"),
        [frame(TEXT, b"in "), frame(FIN | PING, b""), frame(FIN | CONTINUATION, b"two")].concat(),
        frame(FIN | PING, b"ping"),
        frame(FIN | RSV1 | BINARY, &[0x00]),
    ];
    for bytes in streams {
        let mut connection = Connection::new(true, LIMITS);
        for (index, byte) in bytes.chunks(1).enumerate() {
            connection.read(byte);
            let is_last = index + 1 == bytes.len();
            assert_eq!(connection.decoder.held_bytes() == 0, is_last, "{bytes:02X?} at {index}");
        }
        connection.read(&bytes);
        assert_eq!(connection.decoder.held_bytes(), 0, "{bytes:02X?}");
        assert!(!connection.seen.is_empty());
    }
}

#[test]
fn a_connection_that_ended_holds_nothing() {
    for end in [frame(FIN | CLOSE, b""), vec![0xFF]] {
        let mut connection = Connection::new(false, LIMITS);
        connection.read(&frame(TEXT, &[b'a'; 10_000]));
        assert!(connection.decoder.held_bytes() >= 10_000);
        connection.read(&end);
        assert!(connection.decoder.has_ended());
        assert_eq!(connection.decoder.held_bytes(), 0);
        connection.read(&frame(FIN | TEXT, b"late"));
        assert_eq!(connection.decoder.held_bytes(), 0);
    }
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_the_length_that_was_claimed() {
    let megabyte = 1 << 20;
    let limits = Limits { message_bytes: megabyte, frame_bytes: megabyte, fragments: 1 };
    let mut connection = Connection::new(false, limits);
    connection.read(&header(FIN | BINARY, megabyte as u64, [0; 4]));
    let mut came = 0;
    let piece = [1; 1_000];
    while came + piece.len() <= megabyte {
        connection.read(&piece);
        came += piece.len();
        assert!(connection.decoder.held_bytes() < 2 * came + 512, "{came}");
    }
    connection.read(&piece[..megabyte - came]);
    assert_eq!(connection.seen, [binary(&vec![1; megabyte])]);
    assert_eq!(connection.decoder.held_bytes(), 0);
}

#[test]
fn nothing_is_held_for_what_can_never_come() {
    // With what surrounds it.
    let most = 60_000 + 256;
    let limits = Limits { message_bytes: 60_000, ..LIMITS };
    let whole = frame(FIN | BINARY, &[1; 60_000]);
    let in_two = [frame(BINARY, &[1; 35_000]), frame(FIN | CONTINUATION, &[1; 25_000])].concat();
    let tiny: Vec<_> = (0..1_000).map(|_| frame(CONTINUATION, &[1; 59])).collect();
    let in_many =
        [frame(BINARY, &[1; 900]), tiny.concat(), frame(FIN | CONTINUATION, b"")].concat();
    for bytes in [whole, in_two, in_many] {
        for piece in [1, 700, 33_000, 40_000] {
            let mut connection = Connection::new(false, limits);
            for bytes in bytes.chunks(piece) {
                connection.read(bytes);
                assert!(connection.decoder.held_bytes() <= most, "in pieces of {piece}");
            }
            assert_eq!(connection.seen.len(), 1, "{:?}", connection.fault);
        }
    }
}

#[test]
fn a_large_message_in_single_bytes_is_not_moved_for_each() {
    let megabyte = 1 << 20;
    let limits = Limits { message_bytes: megabyte, frame_bytes: megabyte, fragments: 1 };
    let mut connection = Connection::new(false, limits);
    connection.read(&header(FIN | TEXT, megabyte as u64, [0; 4]));
    let mut capacities = std::collections::BTreeSet::new();
    for _ in 0..megabyte {
        connection.read(b"a");
        capacities.insert(connection.decoder.held_bytes());
    }
    assert_eq!(connection.seen.len(), 1);
    assert!(capacities.len() < 24, "grows by doubling: {capacities:?}");
}
