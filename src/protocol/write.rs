//! Writing values in either codec with the same words.

use super::{Codec, Data};

/// Writes values of one codec to the end of a buffer.
pub(super) trait Writer: Sized {
    /// What it writes.
    const CODEC: Codec;

    /// Where it writes.
    fn out(&mut self) -> &mut Vec<u8>;

    /// null
    fn null(&mut self);

    /// true, false
    fn boolean(&mut self, value: bool);

    /// A whole number.
    fn unsigned(&mut self, value: u64);

    /// Text.
    fn text(&mut self, value: &str);

    /// Begins a map; says where, for [`Writer::end_map`].
    fn begin_map(&mut self) -> usize;

    /// The key of a map's pair, which has so many before it.
    fn key(&mut self, before: usize, key: &'static str);

    /// Ends the map that began at `start` and has so many pairs.
    fn end_map(&mut self, start: usize, count: usize);

    /// Begins an array.
    fn begin_list(&mut self, count: usize);

    /// Comes before each element of an array but the first.
    fn next_element(&mut self);

    /// Ends an array.
    fn end_list(&mut self);

    /// A value that a client wrote.
    fn data(&mut self, value: Data<'_>) {
        value.write(Self::CODEC, self.out());
    }

    /// A map: `fill` writes its fields.
    fn map(&mut self, fill: impl FnOnce(&mut Map<'_, Self>)) {
        let start = self.begin_map();
        let mut map = Map { writer: self, count: 0 };
        fill(&mut map);
        let count = map.count;
        self.end_map(start, count);
    }

    /// An array.
    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.begin_list(items.len());
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.next_element();
            }
            each(self, item);
        }
        self.end_list();
    }
}

/// A map that is being written.
pub(super) struct Map<'w, W> {
    writer: &'w mut W,
    count: usize,
}

impl<W: Writer> Map<'_, W> {
    /// Writes the key; the caller writes exactly one value.
    pub(super) fn field(&mut self, key: &'static str) -> &mut W {
        self.writer.key(self.count, key);
        self.count += 1;
        self.writer
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.field(key).text(value);
    }

    pub(super) fn unsigned(&mut self, key: &'static str, value: u64) {
        self.field(key).unsigned(value);
    }

    pub(super) fn boolean(&mut self, key: &'static str, value: bool) {
        self.field(key).boolean(value);
    }

    /// A field that is only there when true.
    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        if value {
            self.boolean(key, true);
        }
    }

    /// Text, or null.
    pub(super) fn nullable_text(&mut self, key: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.field(key).null(),
        }
    }

    pub(super) fn optional_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn optional_unsigned(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.unsigned(key, value);
        }
    }

    pub(super) fn optional_boolean(&mut self, key: &'static str, value: Option<bool>) {
        if let Some(value) = value {
            self.boolean(key, value);
        }
    }

    pub(super) fn optional_data(&mut self, key: &'static str, value: Option<Data<'_>>) {
        if let Some(value) = value {
            self.field(key).data(value);
        }
    }
}
