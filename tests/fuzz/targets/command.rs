//! Any bytes as a client's message, text and binary: nothing panics, what is accepted is what
//! `serde_json` accepts, and opaque data survives the other codec.
use ringroom::protocol::{Codec, Command, Data, ParseLimits, parse};
use ringroom::ws::MessageKind;

const LIMITS: ParseLimits = ParseLimits { depth: 32, batch_messages: 8 };

pub(crate) fn check(input: &[u8]) {
    read(MessageKind::Binary, input);
    if let Ok(text) = std::str::from_utf8(input) {
        read(MessageKind::Text, input);
        compare(text);
    }
    if let Some(data) = Data::new(Codec::MessagePack, input, 64) {
        convert(data);
    }
}

/// Reads all there is, batches within as well; an answer names no id that is out of bounds.
fn read(kind: MessageKind, input: &[u8]) {
    let mut count = 0;
    for message in parse(kind, input, &LIMITS) {
        count += 1;
        match message.map(|envelope| envelope.command) {
            Ok(Command::Batch(messages)) => assert!(messages.count() <= 8),
            Ok(Command::Publish(publish)) => convert(publish.post.data),
            Ok(_) => {}
            Err(bad) => assert!(!bad.message.is_empty()),
        }
    }
    assert!(count <= 8);
}

/// The scanner takes what `serde_json` takes, and nothing else.
fn compare(text: &str) {
    // Numbers of any size are passed on; `serde_json` wants them to fit a double.
    let by_serde = serde_json::from_str::<serde_json::Value>(text)
        .map_err(|error| error.to_string().starts_with("number out of range"));
    match (Data::new(Codec::Json, text.as_bytes(), 120), by_serde) {
        (Some(data), Ok(_) | Err(true)) => convert(data),
        (Some(_), Err(false)) => panic!("serde_json refuses {text:?}"),
        // Longer numbers and deeper nesting than we take.
        (None, Ok(_)) if text.len() < 120 => panic!("serde_json takes {text:?}"),
        (None, _) => {}
    }
}

/// What goes to the other codec is well-formed there, and comes back the same from then on.
fn convert(data: Data<'_>) {
    let other = match data.codec() {
        Codec::Json => Codec::MessagePack,
        Codec::MessagePack => Codec::Json,
    };
    let converted = data.to_codec(other);
    let there = Data::new(other, &converted, 128).expect("what is written is well-formed");
    let back = there.to_codec(data.codec()).into_owned();
    let back = Data::new(data.codec(), &back, 128).expect("what is written is well-formed");
    if other == Codec::MessagePack && !has_infinity(&converted) {
        assert_eq!(back.to_codec(other), converted);
    }
}

/// Whether a double beyond all numbers may be in there, which JSON turns into null.
fn has_infinity(packed: &[u8]) -> bool {
    packed.windows(3).any(|window| matches!(window, [0xcb, 0x7f | 0xff, 0xf0]))
}
