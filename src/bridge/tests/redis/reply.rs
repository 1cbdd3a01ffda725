//! What is said over a connection: commands as clients write them, and replies in RESP3.

use std::fmt;

/// What a command is answered, and what is told unasked.
#[derive(Clone, PartialEq)]
pub(super) enum Reply {
    Nil,
    Status(&'static str),
    Number(i64),
    Text(Vec<u8>),
    List(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    /// Its first word says what kind.
    Error(String),
    /// Told unasked.
    Push(Vec<Reply>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Status(text) => write!(f, "+{text}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(a, b)| (a, b))).finish(),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Push(items) => {
                f.write_str(">")?;
                f.debug_list().entries(items).finish()
            }
        }
    }
}

impl Reply {
    pub(super) fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    /// Of what is counted.
    pub(super) fn count(count: usize) -> Self {
        Self::Number(i64::try_from(count).expect("a small number"))
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Nil => to.extend(b"_\r\n"),
            Self::Status(text) => to.extend(format!("+{text}\r\n").bytes()),
            Self::Number(number) => to.extend(format!(":{number}\r\n").bytes()),
            Self::Error(text) => to.extend(format!("-{text}\r\n").bytes()),
            Self::Text(text) => {
                to.extend(format!("${}\r\n", text.len()).bytes());
                to.extend(text);
                to.extend(b"\r\n");
            }
            Self::List(items) => write_all('*', items, to),
            Self::Push(items) => write_all('>', items, to),
            Self::Map(pairs) => {
                to.extend(format!("%{}\r\n", pairs.len()).bytes());
                for (name, value) in pairs {
                    name.write(to);
                    value.write(to);
                }
            }
        }
    }
}

fn write_all(kind: char, items: &[Reply], to: &mut Vec<u8>) {
    to.extend(format!("{kind}{}\r\n", items.len()).bytes());
    items.iter().for_each(|item| item.write(to));
}

/// Takes the next whole command from what was read; none if it is not there yet.
pub(super) fn take_command(read: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut rest = read.as_slice();
    let count = take_line(&mut rest, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = take_line(&mut rest, b'$')?;
        let (word, behind) = rest.split_at_checked(length)?;
        words.push(word.to_vec());
        rest = behind.get(2..)?;
    }
    let taken = read.len() - rest.len();
    read.drain(..taken);
    Some(words)
}

/// A line that is a number behind the letter that says of what.
fn take_line(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(rest[0], kind, "clients write arrays of texts: {}", rest.escape_ascii());
    let number = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
    *rest = &rest[end + 2..];
    Some(number)
}

#[test]
fn a_command_is_taken_once_all_of_it_is_there() {
    let mut packed = redis::cmd("SET").arg("k").arg("a\r\nb").get_packed_command();
    packed.extend(redis::cmd("PING").get_packed_command());
    let mut read = Vec::new();
    let mut taken = Vec::new();
    for byte in packed {
        read.push(byte);
        taken.extend(take_command(&mut read));
    }
    let words =
        |all: &[&str]| -> Vec<Vec<u8>> { all.iter().map(|it| it.as_bytes().to_vec()).collect() };
    assert_eq!(taken, [words(&["SET", "k", "a\r\nb"]), words(&["PING"])]);
    assert!(read.is_empty());
}
