//! What a server keeps: keys, of a kind each, until they run out.

use std::collections::BTreeMap;

/// A place in a stream.
pub(super) type Id = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub(super) entries: BTreeMap<Id, Vec<Vec<u8>>>,
    pub(super) last: Id,
}

/// What a key holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Sorted(BTreeMap<Vec<u8>, f64>),
    Stream(Stream),
}

#[derive(Clone, Debug)]
struct Kept {
    content: Content,
    until_ms: Option<u64>,
}

/// All keys. Each kind comes to be with the first thing that is put there, and goes with the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    keys: BTreeMap<Vec<u8>, Kept>,
    /// How far each life of a room has come here, by the key of its state and its epoch; also those that are
    /// over.
    pub(super) lives: BTreeMap<[Vec<u8>; 2], u64>,
    /// Counts what was written.
    pub(super) writes: u64,
}

/// A key holds something of another kind.
#[derive(Debug)]
pub(super) struct WrongKind;

macro_rules! kinds {
    ($($name:ident $edit:ident $kind:ident $type:ty;)*) => {$(
        pub(super) fn $name(&self, key: &[u8]) -> Result<Option<&$type>, WrongKind> {
            match self.keys.get(key).map(|kept| &kept.content) {
                None => Ok(None),
                Some(Content::$kind(found)) => Ok(Some(found)),
                Some(_) => Err(WrongKind),
            }
        }

        pub(super) fn $edit(&mut self, key: &[u8]) -> Result<&mut $type, WrongKind> {
            self.writes += 1;
            let kept = self.keys.entry(key.to_vec()).or_insert_with(|| Kept {
                content: Content::$kind(Default::default()),
                until_ms: None,
            });
            match &mut kept.content {
                Content::$kind(found) => Ok(found),
                _ => Err(WrongKind),
            }
        }
    )*};
}

impl Data {
    kinds! {
        text edit_text Text Vec<u8>;
        hash edit_hash Hash BTreeMap<Vec<u8>, Vec<u8>>;
        sorted edit_sorted Sorted BTreeMap<Vec<u8>, f64>;
        stream edit_stream Stream Stream;
    }

    /// A hash has changed: notes how far a room has come, if it is the state of one.
    pub(super) fn note_life(&mut self, key: &[u8]) {
        let Ok(Some(hash)) = self.hash(key) else { return };
        let fact = |name: &str| hash.get(name.as_bytes());
        if let (Some(epoch), Some(offset)) = (fact("epoch"), fact("offset")) {
            let offset = std::str::from_utf8(offset).ok().and_then(|text| text.parse().ok());
            self.lives.insert([key.to_vec(), epoch.clone()], offset.expect("a number"));
        }
    }

    /// Everything that has run out goes.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.keys.retain(|_, kept| kept.until_ms.is_none_or(|until| until > now_ms));
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let was_there = self.keys.remove(key).is_some();
        self.writes += u64::from(was_there);
        was_there
    }

    /// Gives others a key as it is here, and how far the lives of its room have come.
    pub(super) fn give(&self, key: &[u8], to: [&mut Self; 2]) {
        let kept = self.keys.get(key);
        let lives = self.lives.iter().filter(|([state, _], _)| state == key);
        for to in to {
            to.keys.extend(kept.map(|kept| (key.to_vec(), kept.clone())));
            to.lives.extend(lives.clone().map(|(life, offset)| (life.clone(), *offset)));
        }
    }

    /// A key is elsewhere.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// Of what lies in hashes and sorted sets nothing is left where there is none of it.
    pub(super) fn tidy(&mut self, key: &[u8]) {
        let is_empty = |kept: &Kept| match &kept.content {
            Content::Hash(hash) => hash.is_empty(),
            Content::Sorted(sorted) => sorted.is_empty(),
            Content::Text(_) | Content::Stream(_) => false,
        };
        if self.keys.get(key).is_some_and(is_empty) {
            self.keys.remove(key);
        }
    }

    /// Says when a key runs out, or that it does not; whether there is one.
    pub(super) fn set_end(&mut self, key: &[u8], until_ms: Option<u64>) -> bool {
        let Some(kept) = self.keys.get_mut(key) else { return false };
        kept.until_ms = until_ms;
        self.writes += 1;
        true
    }

    /// When a key runs out, if it does.
    pub(super) fn end(&self, key: &[u8]) -> Option<u64> {
        self.keys.get(key)?.until_ms
    }

    /// The keys that there are.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.keys().map(Vec::as_slice)
    }
}
