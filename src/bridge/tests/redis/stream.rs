//! The commands of streams.

use std::ops::Bound;

use super::command::{Outcome, Work, Wrong, number, unknown};
use super::data::{Id, Stream};
use super::reply::Reply;

/// A stream that is trimmed `~` keeps up to so many times what it was asked for.
const NEARLY: usize = 2;

pub(super) fn execute(work: &mut Work<'_>, name: &[u8], key: &[u8], rest: &[Vec<u8>]) -> Outcome {
    let now_ms = work.now_ms();
    match (name, rest) {
        (b"XADD", [max, about, most, id, fields @ ..])
            if max == b"MAXLEN" && about == b"~" && !fields.is_empty() =>
        {
            let stream = work.data.edit_stream(key)?;
            let id = add(stream, id, fields, now_ms)?;
            trim(stream, number(most)?);
            Ok(Reply::text(written(id)))
        }
        (b"XADD", [id, fields @ ..]) if !fields.is_empty() => {
            let id = add(work.data.edit_stream(key)?, id, fields, now_ms)?;
            Ok(Reply::text(written(id)))
        }
        (b"XTRIM", [min, .., first]) if min == b"MINID" => {
            if work.data.stream(key)?.is_none() {
                return Ok(Reply::Number(0));
            }
            let stream = work.data.edit_stream(key)?;
            let kept = stream.entries.split_off(&read(first)?);
            let gone = std::mem::replace(&mut stream.entries, kept);
            Ok(Reply::count(gone.len()))
        }
        (b"XLEN", []) => Ok(Reply::count(work.data.stream(key)?.map_or(0, |it| it.entries.len()))),
        (b"XRANGE", [first, last, options @ ..]) => {
            let found = range(work.data.stream(key)?, first, last)?;
            Ok(limited(found.into_iter(), options)?)
        }
        (b"XREVRANGE", [last, first, options @ ..]) => {
            let found = range(work.data.stream(key)?, first, last)?;
            Ok(limited(found.into_iter().rev(), options)?)
        }
        _ => unknown(name),
    }
}

/// Puts an entry behind the others.
fn add(stream: &mut Stream, id: &[u8], fields: &[Vec<u8>], now_ms: u64) -> Result<Id, Wrong> {
    let id = match id {
        b"*" if stream.last >= (now_ms, 0) => (stream.last.0, stream.last.1 + 1),
        b"*" => (now_ms, 0),
        id => read(id)?,
    };
    if id <= stream.last {
        let why =
            "ERR The ID specified in XADD is equal or smaller than the target stream top item";
        return Err(Wrong(why.to_owned()));
    }
    stream.last = id;
    stream.entries.insert(id, fields.to_vec());
    Ok(id)
}

fn trim(stream: &mut Stream, most: usize) {
    if stream.entries.len() > most * NEARLY {
        while stream.entries.len() > most {
            stream.entries.pop_first();
        }
    }
}

fn read(id: &[u8]) -> Result<Id, Wrong> {
    read_or(id, 0)
}

/// An ID that may lack its second part.
fn read_or(id: &[u8], second: u64) -> Result<Id, Wrong> {
    match id.iter().position(|byte| *byte == b'-') {
        Some(at) => Ok((number(&id[..at])?, number(&id[at + 1..])?)),
        None => Ok((number(id)?, second)),
    }
}

fn written((ms, sequence): Id) -> String {
    format!("{ms}-{sequence}")
}

/// An end of a range; what its ID may lack is that of all it could be that is the furthest.
fn bound(word: &[u8], furthest: u64) -> Result<Bound<Id>, Wrong> {
    match word.split_first() {
        Some((b'-' | b'+', [])) => Ok(Bound::Unbounded),
        Some((b'(', id)) => Ok(Bound::Excluded(read(id)?)),
        _ => Ok(Bound::Included(read_or(word, furthest)?)),
    }
}

type Entry<'a> = (&'a Id, &'a Vec<Vec<u8>>);

fn range<'a>(
    stream: Option<&'a Stream>,
    first: &[u8],
    last: &[u8],
) -> Result<Vec<Entry<'a>>, Wrong> {
    let (first, last) = (bound(first, 0)?, bound(last, u64::MAX)?);
    let is_in = |id: &Id| {
        let above = match first {
            Bound::Included(first) => *id >= first,
            Bound::Excluded(first) => *id > first,
            Bound::Unbounded => true,
        };
        above
            && match last {
                Bound::Included(last) => *id <= last,
                Bound::Excluded(last) => *id < last,
                Bound::Unbounded => true,
            }
    };
    let entries = stream.into_iter().flat_map(|stream| &stream.entries);
    Ok(entries.filter(|(id, _)| is_in(id)).collect())
}

fn limited<'a>(found: impl Iterator<Item = Entry<'a>>, options: &[Vec<u8>]) -> Outcome {
    let most = match options {
        [] => usize::MAX,
        [count, most] if count == b"COUNT" => number(most)?,
        _ => return unknown(b"XRANGE"),
    };
    let entry = |(id, fields): Entry<'_>| {
        let fields = fields.iter().map(Reply::text).collect();
        Reply::List(vec![Reply::text(written(*id)), Reply::List(fields)])
    };
    Ok(Reply::List(found.take(most).map(entry).collect()))
}
