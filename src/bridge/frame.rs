//! What a server says, as it comes: where each value ends, and reading those that come with every
//! publication. The client's parser reads all the others; it takes several times as long.
//!
//! Invariant: a value is read as the client's parser reads it.

use std::io;

use bytes::{Bytes, BytesMut};
use redis::{RedisResult, Value};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read at once, at most.
const READ_BYTES: usize = 16_384;
/// Lists within lists that are read here.
const DEPTH_MAX: u8 = 8;

/// What was read, and is no whole value yet.
#[derive(Debug)]
pub(super) struct Frames {
    read: BytesMut,
    /// How much of it was looked at; more than there is, if that was announced.
    seen: usize,
    /// Values that are still to begin before the first one ends.
    left: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { read: BytesMut::new(), seen: 0, left: 1 }
    }
}

impl Frames {
    /// The next value, once all of it is there.
    pub(super) async fn take(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
        loop {
            if self.is_whole()? {
                let frame = self.read.split_to(self.seen).freeze();
                (self.seen, self.left) = (0, 1);
                return Ok(frame);
            }
            self.read.reserve(READ_BYTES);
            if from.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether all of the next value is there.
    fn is_whole(&mut self) -> io::Result<bool> {
        while self.left > 0 {
            let rest = self.read.get(self.seen..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(false) };
            let (bytes, values) = behind(&rest[..=end]).ok_or(io::ErrorKind::InvalidData)?;
            self.seen = (self.seen + end + 1).saturating_add(bytes);
            self.left = (self.left - 1).saturating_add(values);
        }
        Ok(self.seen <= self.read.len())
    }
}

/// How many bytes stand behind the line with which a value begins, and how many values then; none: no
/// value begins so.
fn behind(mut line: &[u8]) -> Option<(usize, usize)> {
    let (kind, line) = take_line(&mut line)?;
    // Less than nothing says that there is no value.
    let count = || number(line).map(|count| usize::try_from(count).ok());
    Some(match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (0, 0),
        b'$' | b'=' | b'!' => (count()?.map_or(0, |bytes| bytes.saturating_add(2)), 0),
        b'*' | b'~' | b'>' => (0, count()?.unwrap_or(0)),
        b'%' => (0, count()?.unwrap_or(0).saturating_mul(2)),
        b'|' => (0, count()?.unwrap_or(0).saturating_mul(2).saturating_add(1)),
        _ => return None,
    })
}

/// A whole value.
pub(super) fn value(frame: &[u8]) -> RedisResult<Value> {
    let mut rest = frame;
    match plain(&mut rest, DEPTH_MAX) {
        Some(value) if rest.is_empty() => Ok(value),
        _ => redis::parse_redis_value(frame),
    }
}

/// What scripts answer with: texts, numbers, lists of them. None: it is something else.
fn plain(rest: &mut &[u8], depth: u8) -> Option<Value> {
    let (kind, line) = take_line(rest)?;
    match kind {
        b':' => number(line).map(Value::Int),
        b'$' => take_text(rest, line).map(|text| Value::BulkString(text.to_vec())),
        b'*' if depth > 0 => {
            let count = usize::try_from(number(line)?).ok()?;
            let items = (0..count).map(|_| plain(rest, depth - 1));
            items.collect::<Option<_>>().map(Value::Array)
        }
        _ => None,
    }
}

/// What is said without having been asked for, if it is so many texts.
pub(super) fn said<const COUNT: usize>(frame: &Bytes) -> Option<[Bytes; COUNT]> {
    let mut rest = &frame[..];
    let (kind, line) = take_line(&mut rest)?;
    if kind != b'>' || usize::try_from(number(line)?).ok()? != COUNT {
        return None;
    }
    let mut texts = [const { Bytes::new() }; COUNT];
    for text in &mut texts {
        let (kind, line) = take_line(&mut rest)?;
        *text = frame.slice_ref((kind == b'$').then(|| take_text(&mut rest, line))??);
    }
    Some(texts)
}

/// The line with which a value begins: what kind it is, and the rest.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let end = memchr::memchr(b'\n', rest)?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    let (kind, line) = line.split_first()?;
    Some((*kind, line.strip_suffix(b"\r")?))
}

/// The text behind that line.
fn take_text<'a>(rest: &mut &'a [u8], line: &[u8]) -> Option<&'a [u8]> {
    let count = usize::try_from(number(line)?).ok()?;
    let (text, behind) = rest.split_at_checked(count)?;
    *rest = behind.strip_prefix(b"\r\n")?;
    Some(text)
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What servers say, and more.
    const SAID: [&str; 24] = [
        "+OK\r\n",
        "+PONG\r\n",
        "-NOSCRIPT No matching script.\r\n",
        ":12\r\n",
        ":-1\r\n",
        "$0\r\n\r\n",
        "$4\r\na\r\nb\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "_\r\n",
        ",1.5\r\n",
        "#t\r\n",
        "!5\r\nERR x\r\n",
        "=5\r\ntxt:x\r\n",
        "(12345\r\n",
        "*4\r\n$3\r\n1.x\r\n:7\r\n:0\r\n:2\r\n",
        "*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        "*2\r\n:1\r\n-ERR x\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "%1\r\n+a\r\n:1\r\n",
        "~2\r\n:1\r\n:2\r\n",
        "|1\r\n+a\r\n:1\r\n:2\r\n",
        ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$3\r\nb\r\n\r\n",
    ];

    /// All values of what comes in pieces of so many bytes.
    fn frames(said: &[u8], piece: usize) -> Vec<Bytes> {
        let (mut ours, mut theirs) = tokio::io::duplex(piece);
        let mut found = Vec::new();
        let says = async {
            ours.write_all(said).await.expect("somebody reads");
            drop(ours);
        };
        let reads = async {
            let mut frames = Frames::default();
            while let Ok(frame) = frames.take(&mut theirs).await {
                found.push(frame);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("it needs nothing").block_on(async { tokio::join!(says, reads) });
        found
    }

    #[test]
    fn values_end_where_they_end_and_are_read_as_the_client_reads_them() {
        let all = SAID.concat();
        for piece in [1, 2, 3, 7, 64, 10_000] {
            assert_eq!(frames(all.as_bytes(), piece), SAID, "{piece}");
        }
        for said in SAID {
            let theirs = redis::parse_redis_value(said.as_bytes());
            assert_eq!(value(said.as_bytes()).ok(), theirs.ok(), "{said:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error_and_what_is_too_long_is_awaited() {
        for (said, error) in [
            ("x1\r\n", io::ErrorKind::InvalidData),
            ("$x\r\n", io::ErrorKind::InvalidData),
            (":1\n", io::ErrorKind::InvalidData),
            ("\r\n", io::ErrorKind::InvalidData),
            ("$9223372036854775807\r\na", io::ErrorKind::UnexpectedEof),
            ("*9223372036854775807\r\n:1\r\n", io::ErrorKind::UnexpectedEof),
            ("%9223372036854775807\r\n", io::ErrorKind::UnexpectedEof),
        ] {
            let taken = async { Frames::default().take(&mut said.as_bytes()).await };
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let taken = runtime.expect("it needs nothing").block_on(taken);
            assert_eq!(taken.map_err(|error| error.kind()), Err(error), "{said:?}");
        }
    }

    #[test]
    fn only_so_many_texts_are_said() {
        let frame = |text: &'static str| Bytes::from_static(text.as_bytes());
        let heard = SAID[23];
        let texts = ["smessage", "a", "b\r\n"].map(frame);
        assert_eq!(said(&frame(heard)), Some(texts));
        assert_eq!(said::<2>(&frame(heard)), None);
        assert_eq!(said::<4>(&frame(heard)), None);
        let listens = ">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n";
        assert_eq!(said::<3>(&frame(listens)), None);
        assert_eq!(said::<0>(&frame("*0\r\n")), None);
    }
}
