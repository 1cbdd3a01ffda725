//! Finds where a MessagePack value ends, and that it is one.
//!
//! Invariants: no count that a peer claims is believed before its bytes are there; recursion ends
//! at the depth that is allowed, at most 255.

use rmp::Marker;

use crate::protocol::fault::Fault;

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::protocol) enum Head {
    /// nil
    Nil,
    /// true, false
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Negative(i64),
    /// Single or double precision.
    Float(f64),
    /// So many bytes of UTF-8 follow.
    Text(usize),
    /// So many bytes follow.
    Binary(usize),
    /// So many bytes follow; the type was before them.
    Extension(usize),
    /// So many values follow.
    Array(usize),
    /// So many pairs of key and value follow.
    Map(usize),
}

impl Head {
    /// Reads the head at `at`, and says where what follows it begins.
    pub(in crate::protocol) fn read(bytes: &[u8], at: usize) -> Result<(Self, usize), Fault> {
        let marker = *bytes.get(at).ok_or(Fault::Malformed)?;
        let mut rest = Rest { bytes, at: at + 1 };
        let head = match Marker::from_u8(marker) {
            Marker::Null => Self::Nil,
            Marker::True => Self::Bool(true),
            Marker::False => Self::Bool(false),
            Marker::FixPos(value) => Self::Unsigned(u64::from(value)),
            Marker::FixNeg(value) => Self::Negative(i64::from(value)),
            Marker::U8 => Self::Unsigned(u64::from(u8::from_be_bytes(rest.take()?))),
            Marker::U16 => Self::Unsigned(u64::from(u16::from_be_bytes(rest.take()?))),
            Marker::U32 => Self::Unsigned(u64::from(u32::from_be_bytes(rest.take()?))),
            Marker::U64 => Self::Unsigned(u64::from_be_bytes(rest.take()?)),
            Marker::I8 => Self::signed(i64::from(i8::from_be_bytes(rest.take()?))),
            Marker::I16 => Self::signed(i64::from(i16::from_be_bytes(rest.take()?))),
            Marker::I32 => Self::signed(i64::from(i32::from_be_bytes(rest.take()?))),
            Marker::I64 => Self::signed(i64::from_be_bytes(rest.take()?)),
            Marker::F32 => Self::Float(f64::from(f32::from_be_bytes(rest.take()?))),
            Marker::F64 => Self::Float(f64::from_be_bytes(rest.take()?)),
            Marker::FixStr(length) => Self::Text(usize::from(length)),
            Marker::Str8 => Self::Text(rest.length8()?),
            Marker::Str16 => Self::Text(rest.length16()?),
            Marker::Str32 => Self::Text(rest.length32()?),
            Marker::Bin8 => Self::Binary(rest.length8()?),
            Marker::Bin16 => Self::Binary(rest.length16()?),
            Marker::Bin32 => Self::Binary(rest.length32()?),
            Marker::FixArray(count) => Self::Array(usize::from(count)),
            Marker::Array16 => Self::Array(rest.length16()?),
            Marker::Array32 => Self::Array(rest.length32()?),
            Marker::FixMap(count) => Self::Map(usize::from(count)),
            Marker::Map16 => Self::Map(rest.length16()?),
            Marker::Map32 => Self::Map(rest.length32()?),
            Marker::FixExt1 => rest.extension(1)?,
            Marker::FixExt2 => rest.extension(2)?,
            Marker::FixExt4 => rest.extension(4)?,
            Marker::FixExt8 => rest.extension(8)?,
            Marker::FixExt16 => rest.extension(16)?,
            Marker::Ext8 => {
                let length = rest.length8()?;
                rest.extension(length)?
            }
            Marker::Ext16 => {
                let length = rest.length16()?;
                rest.extension(length)?
            }
            Marker::Ext32 => {
                let length = rest.length32()?;
                rest.extension(length)?
            }
            Marker::Reserved => return Err(Fault::Malformed),
        };
        Ok((head, rest.at))
    }

    /// A number of a signed form.
    fn signed(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Negative(value), Self::Unsigned)
    }
}

/// What is left of a head.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let chunk = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        self.at += N;
        chunk.copied().ok_or(Fault::Malformed)
    }

    fn length8(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(u8::from_be_bytes(self.take()?)))
    }

    fn length16(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(u16::from_be_bytes(self.take()?)))
    }

    fn length32(&mut self) -> Result<usize, Fault> {
        usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| Fault::Malformed)
    }

    /// An extension of `length` bytes, whose type comes next.
    fn extension(&mut self, length: usize) -> Result<Head, Fault> {
        self.take::<1>()?;
        Ok(Head::Extension(length))
    }
}

/// The end of the value that starts at `at`, nested at most `depth` deep.
pub(in crate::protocol) fn skip(bytes: &[u8], at: usize, depth: u8) -> Result<usize, Fault> {
    let (head, at) = Head::read(bytes, at)?;
    match head {
        Head::Nil | Head::Bool(_) | Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => {
            Ok(at)
        }
        Head::Text(length) => text_end(bytes, at, length),
        Head::Binary(length) | Head::Extension(length) => end_of(bytes, at, length),
        Head::Array(count) => {
            let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
            (0..count).try_fold(at, |at, _| skip(bytes, at, depth))
        }
        Head::Map(count) => {
            let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
            (0..count).try_fold(at, |at, _| skip(bytes, key_span(bytes, at)?.1, depth))
        }
    }
}

/// Where the text of a map's key starts and ends.
pub(super) fn key_span(bytes: &[u8], at: usize) -> Result<(usize, usize), Fault> {
    match Head::read(bytes, at)? {
        (Head::Text(length), at) => Ok((at, text_end(bytes, at, length)?)),
        _ => Err(Fault::KeyNotText),
    }
}

/// Where `length` bytes of text from `at` end, if they are that.
fn text_end(bytes: &[u8], at: usize, length: usize) -> Result<usize, Fault> {
    let end = end_of(bytes, at, length)?;
    simdutf8::basic::from_utf8(&bytes[at..end]).map_err(|_| Fault::Malformed)?;
    Ok(end)
}

/// Where `length` bytes from `at` end, if they are there.
fn end_of(bytes: &[u8], at: usize, length: usize) -> Result<usize, Fault> {
    let end = at.checked_add(length).ok_or(Fault::Malformed)?;
    if end > bytes.len() { Err(Fault::Malformed) } else { Ok(end) }
}
