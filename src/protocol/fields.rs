//! The fields of a message, found in one walk over it and then asked for by name.
//!
//! Invariants: names that no message has are passed over; no name is there twice; memory is fixed,
//! however long the message.

use super::command::Text;
use super::data::Entries;
use super::fault::Fault;
use super::name::Name;
use super::{Codec, Data};

/// Where each field's value lies in the message: start and end; the end is never 0 where one is.
type Spans = [(u32, u32); Name::COUNT];

/// The fields of a message, or of a map in one.
pub(super) struct Fields<'a> {
    codec: Codec,
    bytes: &'a [u8],
    spans: Spans,
    /// Where the map ends.
    pub(super) end: usize,
    /// The first thing that is wrong. Fields after it may be there, to find the `id` at least.
    pub(super) fault: Option<Fault>,
}

impl<'a> Fields<'a> {
    /// Walks over the map that begins at the start of `bytes`, nested at most `depth` deep.
    pub(super) fn walk(codec: Codec, bytes: &'a [u8], depth: u8) -> Self {
        let mut fields = Self { codec, bytes, spans: [(0, 0); Name::COUNT], end: 0, fault: None };
        if let Err(fault) = fields.fill(depth) {
            fields.fault.get_or_insert(fault);
        }
        fields
    }

    /// The fields of a value that has been checked; none if it is no map.
    pub(super) fn of(value: Data<'a>) -> Option<Result<Self, Fault>> {
        value.is_map().then(|| {
            let fields = Self::walk(value.codec(), value.bytes(), Data::DEPTH_MAX);
            fields.fault.map_or(Ok(fields), Err)
        })
    }

    fn fill(&mut self, depth: u8) -> Result<(), Fault> {
        let mut entries = Entries::new(self.codec, self.bytes).ok_or(Fault::NotAMessage)?;
        let inner = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
        while let Some(key) = entries.next_key()? {
            let name = Name::parse(&key);
            // Messages of a batch are as deep as any other: each is measured when it is read.
            let depth = if name == Some(Name::Messages) { Data::DEPTH_MAX } else { inner };
            let value = match entries.value(depth) {
                Err(Fault::TooDeep) => {
                    self.fault.get_or_insert(Fault::TooDeep);
                    entries.value(Data::DEPTH_MAX)?
                }
                value => value?,
            };
            let length = value.bytes().len();
            if let Some(name) = name {
                self.put(name, entries.position() - length, entries.position())?;
            }
        }
        self.end = entries.position();
        Ok(())
    }

    /// Notes where a value is. A second one of its name is noted as a fault.
    fn put(&mut self, name: Name, start: usize, end: usize) -> Result<(), Fault> {
        let span = &mut self.spans[name as usize];
        if span.1 != 0 {
            self.fault.get_or_insert(Fault::Twice(name));
            return Ok(());
        }
        let narrow = |at| u32::try_from(at).map_err(|_| Fault::Malformed);
        *span = (narrow(start)?, narrow(end)?);
        Ok(())
    }

    /// The value of a field.
    pub(super) fn get(&self, name: Name) -> Option<Data<'a>> {
        let (start, end) = self.spans[name as usize];
        let value = self.bytes.get(start as usize..end as usize)?;
        (end != 0).then(|| Data::checked(self.codec, value))
    }

    /// A field that may be missing.
    pub(super) fn optional<T>(
        &self,
        name: Name,
        read: impl FnOnce(Data<'a>) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        self.get(name).map(|value| read(value).ok_or(Fault::WrongKind(name))).transpose()
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &self,
        name: Name,
        read: impl FnOnce(Data<'a>) -> Option<T>,
    ) -> Result<T, Fault> {
        self.optional(name, read)?.ok_or(Fault::Missing(name))
    }

    /// A value of any kind.
    pub(super) fn data(&self, name: Name) -> Result<Data<'a>, Fault> {
        self.get(name).ok_or(Fault::Missing(name))
    }

    /// Text.
    pub(super) fn text(&self, name: Name) -> Result<Text<'a>, Fault> {
        self.required(name, Data::text)
    }

    /// Text of so many bytes at most, and at least `min`.
    pub(super) fn optional_text(
        &self,
        name: Name,
        bytes: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<Text<'a>>, Fault> {
        match self.optional(name, Data::text)? {
            Some(text) if !bytes.contains(&text.len()) => Err(Fault::BadValue(name)),
            text => Ok(text),
        }
    }

    /// True if so said.
    pub(super) fn flag(&self, name: Name) -> Result<bool, Fault> {
        Ok(self.optional(name, Data::boolean)?.unwrap_or(false))
    }

    /// One of a closed set of words.
    pub(super) fn word<T>(
        &self,
        name: Name,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.optional(name, Data::text)? {
            Some(text) => parse(&text).map(Some).ok_or(Fault::BadValue(name)),
            None => Ok(None),
        }
    }

    /// A whole number that fits.
    pub(super) fn number<T: TryFrom<u64>>(&self, name: Name) -> Result<Option<T>, Fault> {
        match self.optional(name, Data::unsigned)? {
            Some(value) => T::try_from(value).map(Some).map_err(|_| Fault::BadValue(name)),
            None => Ok(None),
        }
    }

    /// A map with fields.
    pub(super) fn map(&self, name: Name) -> Result<Option<Self>, Fault> {
        self.optional(name, Fields::of)?.transpose()
    }

    /// A list of texts, each of so many bytes.
    pub(super) fn texts(
        &self,
        name: Name,
        most: usize,
        bytes: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<Vec<Text<'a>>>, Fault> {
        let Some(items) = self.optional(name, Data::items)? else {
            return Ok(None);
        };
        let mut texts = Vec::new();
        for item in items {
            if texts.len() == most {
                return Err(Fault::TooMany(name));
            }
            let text = item.text().ok_or(Fault::WrongKind(name))?;
            if !bytes.contains(&text.len()) {
                return Err(Fault::BadValue(name));
            }
            texts.push(text);
        }
        Ok(Some(texts))
    }
}
