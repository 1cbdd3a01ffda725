//! What a client writes: messages in both codecs, with `data` whose bytes are not what a serializer
//! would make of them, so that copying by value would show.

use ringroom::protocol;
use serde_json::Value;

/// How a client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    MessagePack,
}

impl Codec {
    /// As the engine calls it.
    pub(crate) fn spoken(self) -> protocol::Codec {
        match self {
            Self::Json => protocol::Codec::Json,
            Self::MessagePack => protocol::Codec::MessagePack,
        }
    }
}

/// Content of a publication, as each codec writes it; its number is in both.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) json: String,
    pub(crate) pack: Vec<u8>,
}

impl Content {
    /// Content that names publication `number`, with some padding.
    pub(crate) fn new(number: usize, padding: usize, style: usize) -> Self {
        let pad = "p".repeat(padding);
        let json = match style % 4 {
            0 => format!(r#"{{"n":{number},"pad":"{pad}"}}"#),
            1 => format!(r#"{{ "pad" : "{pad}\u0041\/", "n" : {number} , "f": 1.50e1 }}"#),
            2 => format!(r#"{{"z":[1, 2,{{}}],"n":{number},"pad":"{pad}"}}"#),
            _ => format!(r#"{{"big":12345678901234567890,"n":{number},"pad":"{pad}"}}"#),
        };
        let mut pack = vec![0x82, 0xA1, b'n', 0xCF];
        pack.extend_from_slice(&(number as u64).to_be_bytes());
        pack.extend_from_slice(&[0xD9, 3, b'p', b'a', b'd']);
        let len = u32::try_from(pad.len()).expect("padding is short");
        pack.push(0xDB);
        pack.extend_from_slice(&len.to_be_bytes());
        pack.extend_from_slice(pad.as_bytes());
        Self { json, pack }
    }

    pub(crate) fn bytes(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Json => self.json.as_bytes(),
            Codec::MessagePack => &self.pack,
        }
    }
}

/// A field's value.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Value(Value),
    Raw(Content),
    List(Vec<Message>),
}

/// A message of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<(&'static str, Part)>);

impl Message {
    pub(crate) fn new(kind: &str) -> Self {
        Self::default().with("type", kind)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, Part::Value(value.into())));
        self
    }

    #[must_use]
    pub(crate) fn part(mut self, name: &'static str, part: Part) -> Self {
        self.0.push((name, part));
        self
    }

    pub(crate) fn encode(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::Json => self.write_json(&mut out),
            Codec::MessagePack => self.write_pack(&mut out),
        }
        out
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (name, part)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{name}\":").as_bytes());
            match part {
                Part::Value(value) => out.extend_from_slice(value.to_string().as_bytes()),
                Part::Raw(content) => out.extend_from_slice(content.json.as_bytes()),
                Part::List(messages) => {
                    out.push(b'[');
                    for (index, message) in messages.iter().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        message.write_json(out);
                    }
                    out.push(b']');
                }
            }
        }
        out.push(b'}');
    }

    fn write_pack(&self, out: &mut Vec<u8>) {
        let written = "writing to memory does not fail";
        rmp::encode::write_map_len(out, u32::try_from(self.0.len()).expect("few")).expect(written);
        for (name, part) in &self.0 {
            rmp::encode::write_str(out, name).expect(written);
            match part {
                Part::Value(value) => {
                    out.extend_from_slice(&rmp_serde::to_vec_named(value).expect(written));
                }
                Part::Raw(content) => out.extend_from_slice(&content.pack),
                Part::List(messages) => {
                    let len = u32::try_from(messages.len()).expect("few");
                    rmp::encode::write_array_len(out, len).expect(written);
                    for message in messages {
                        message.write_pack(out);
                    }
                }
            }
        }
    }
}
