//! What somebody set: patches, validated and laid over each other.

use std::fmt;

use ring::hmac;

use crate::config::Config;
use crate::protocol::{Mode, RoomPatch, Secret};
use crate::room::broker::Kept;
use crate::room::censor::Censor;

/// Publications a room may keep at most.
const HISTORY_SIZE_MAX: u32 = 100_000;
/// A day: slower than that is `publish_role`.
const SLOW_MODE_MAX_MS: u64 = 86_400_000;
/// The longest password.
const PASSWORD_MAX_BYTES: usize = 256;
/// What is kept of one, beside its salt.
const TRACE_BYTES: usize = 32;
/// The longest metadata.
const METADATA_MAX_BYTES: usize = 4_096;
/// Words and patterns of a word filter.
const FILTER_ENTRIES_MAX: usize = 1_000;
/// All of their text together.
const FILTER_MAX_BYTES: usize = 16_384;
/// What one pattern may grow to when compiled.
const PATTERN_MAX_BYTES: usize = 64 << 10;

/// What the server allows any room to be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest message the server takes.
    pub message_bytes: u32,
    /// History of all rooms together.
    pub history_bytes: u64,
    /// How safely messages can be kept outside of this process.
    pub kept: Kept,
    /// What a room is where nothing is set.
    pub general: General,
}

/// What a room is where nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct General {
    /// Publications that a best-effort room keeps.
    pub history_size: u32,
    /// Publications that the other modes keep.
    pub reliable_history_size: u32,
    /// For how long.
    pub history_ttl_ms: u64,
    /// Users.
    pub max_members: u32,
}

impl Default for General {
    fn default() -> Self {
        Self::new(&crate::config::Rooms::default())
    }
}

impl General {
    fn new(rooms: &crate::config::Rooms) -> Self {
        Self {
            history_size: rooms.history_size,
            reliable_history_size: rooms.reliable_history_size,
            history_ttl_ms: rooms.history_ttl_ms,
            max_members: rooms.max_members,
        }
    }
}

/// Why a patch is refused. Nothing of it is applied then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A room for nobody.
    MaxMembers,
    /// Longer than 256 bytes.
    Password,
    /// More durable than the server is.
    Durability,
    /// More than 100,000 publications.
    HistorySize,
    /// Nothing, or more than all rooms of the server may keep together.
    HistoryBytes,
    /// Kept for no time.
    HistoryTtl,
    /// `reliable` and `guaranteed` need history, and it is set to none.
    HistoryNeeded,
    /// No bytes, or more than the server takes.
    MessageBytes,
    /// A rate with no burst.
    Rate,
    /// More than a day.
    SlowMode,
    /// Too many or too long entries.
    WordFilterSize,
    /// A pattern that is no regular expression, or too large a one.
    WordFilterPattern,
    /// Longer than 4,096 bytes.
    Metadata,
}

impl ConfigError {
    /// For people: what is wrong, and what would be right.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::MaxMembers => "max_members is at least 1",
            Self::Password => "password is at most 256 bytes long",
            Self::Durability => "durability is memory where the server has no Redis",
            Self::HistorySize => "history_size is at most 100000",
            Self::HistoryBytes => {
                "history_bytes is at least 1 and at most what all rooms may keep together"
            }
            Self::HistoryTtl => "history_ttl_ms is at least 1",
            Self::HistoryNeeded => "mode reliable or guaranteed needs a history_size above 0",
            Self::MessageBytes => "message_bytes is at least 1 and at most what the server takes",
            Self::Rate => "rate needs a burst above 0",
            Self::SlowMode => "slow_mode_ms is at most a day",
            Self::WordFilterSize => "word_filter has too many entries, or one that is too long",
            Self::WordFilterPattern => {
                "word_filter has a pattern that is no regular expression, or too large a one"
            }
            Self::Metadata => "metadata is at most 4096 bytes long",
        }
    }
}

/// Random bytes that make the traces of the same password differ from room to room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// The trace of a password: enough to know it again.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    salt: Salt,
    trace: [u8; TRACE_BYTES],
}

/// What was set for a room, a namespace or a parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Without the password.
    patch: RoomPatch,
    /// `Some(None)`: set to none.
    password: Option<Option<Password>>,
}

impl Bounds {
    /// The bounds of a server without Redis.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            message_bytes: config.limits.message_bytes,
            history_bytes: config.rooms.history_bytes,
            kept: Kept::default(),
            general: General::new(&config.rooms),
        }
    }
}

impl Password {
    /// One that was set and cannot be read: nobody knows a text that would leave this trace.
    pub const LOST: Self = Self { salt: Salt([0; 16]), trace: [0; TRACE_BYTES] };

    fn new(text: &str, salt: Salt) -> Self {
        let tag = hmac::sign(&salt.key(), text.as_bytes());
        let mut trace = [0; TRACE_BYTES];
        trace.copy_from_slice(tag.as_ref());
        Self { salt, trace }
    }

    /// Its salt and its trace, as nodes tell them to each other.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.salt.0.into_iter().chain(self.trace).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What another node has told.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
        let (salt, trace) = bytes.split_last_chunk::<TRACE_BYTES>()?;
        Some(Self { salt: Salt(salt.try_into().ok()?), trace: *trace })
    }

    /// Whether `text` is the password. How long this takes says nothing about the password: all of
    /// the trace is compared, whatever of it differs.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        hmac::verify(&self.salt.key(), text.as_bytes(), &self.trace).is_ok()
    }
}

impl Salt {
    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Settings {
    /// Sets what `patch` gives and leaves the rest; an empty password takes the password away. A new
    /// one is kept under `salt`; the one that is there already stays as it is.
    ///
    /// # Errors
    /// The first field that is wrong; nothing is changed then.
    pub fn apply(
        &mut self,
        patch: &RoomPatch,
        bounds: &Bounds,
        salt: Salt,
    ) -> Result<(), ConfigError> {
        validate(patch, bounds)?;
        let known = |text: &str| self.password.clone().flatten().filter(|own| own.is(text));
        let password = |text: &str| known(text).unwrap_or_else(|| Password::new(text, salt));
        let secret = patch.password.as_ref().map(Secret::expose);
        let mut next = Self {
            patch: RoomPatch { password: None, ..patch.clone() },
            password: secret.map(|text| (!text.is_empty()).then(|| password(text))),
        };
        next.fill(self);
        let recovers = next.patch.mode.is_some_and(|mode| mode != Mode::BestEffort);
        if recovers && next.patch.history_size == Some(0) {
            return Err(ConfigError::HistoryNeeded);
        }
        *self = next;
        Ok(())
    }

    /// What is set, without the password, and the password if anything is said of it.
    #[must_use]
    pub fn parts(&self) -> (&RoomPatch, Option<Option<&Password>>) {
        (&self.patch, self.password.as_ref().map(Option::as_ref))
    }

    /// Takes over what another node has set; the password stays.
    pub fn set_patch(&mut self, patch: RoomPatch) {
        self.patch = RoomPatch { password: None, ..patch };
    }

    /// Takes over the password that another node has set.
    pub fn set_password(&mut self, password: Option<Password>) {
        self.password = Some(password);
    }

    /// Whether what is not set comes from the parent room, as far as that is set.
    #[must_use]
    pub fn parent_inherit(&self) -> Option<bool> {
        self.patch.parent_inherit
    }

    /// Takes from `lower` what is not set here.
    pub(super) fn fill(&mut self, lower: &Self) {
        let own = std::mem::take(&mut self.patch);
        let lower_patch = &lower.patch;
        self.patch = RoomPatch {
            room_type: own.room_type.or(lower_patch.room_type),
            persistent: own.persistent.or(lower_patch.persistent),
            password: None,
            max_members: own.max_members.or(lower_patch.max_members),
            mode: own.mode.or(lower_patch.mode),
            durability: own.durability.or(lower_patch.durability),
            history_size: own.history_size.or(lower_patch.history_size),
            history_bytes: own.history_bytes.or(lower_patch.history_bytes),
            history_ttl_ms: own.history_ttl_ms.or(lower_patch.history_ttl_ms),
            slow_consumer: own.slow_consumer.or(lower_patch.slow_consumer),
            presence: own.presence.or(lower_patch.presence),
            publish_role: own.publish_role.or(lower_patch.publish_role),
            message_bytes: own.message_bytes.or(lower_patch.message_bytes),
            rate: own.rate.or(lower_patch.rate),
            slow_mode_ms: own.slow_mode_ms.or(lower_patch.slow_mode_ms),
            word_filter: own.word_filter.or_else(|| lower_patch.word_filter.clone()),
            compress: own.compress.or(lower_patch.compress),
            metadata: own.metadata.or_else(|| lower_patch.metadata.clone()),
            parent_inherit: own.parent_inherit.or(lower_patch.parent_inherit),
        };
        if self.password.is_none() {
            self.password.clone_from(&lower.password);
        }
    }

    pub(super) fn into_parts(self) -> (RoomPatch, Option<Password>) {
        (self.patch, self.password.flatten())
    }
}

/// Each field for itself.
fn validate(patch: &RoomPatch, bounds: &Bounds) -> Result<(), ConfigError> {
    use ConfigError as E;
    let password_bytes = patch.password.as_ref().map_or(0, |secret| secret.expose().len());
    let metadata_bytes = patch.metadata.as_ref().map_or(0, |data| data.as_data().bytes().len());
    let no_burst = patch.rate.is_some_and(|rate| rate.per_second > 0 && rate.burst == 0);
    let durable = patch.durability.unwrap_or_default();

    let wrong = [
        (patch.max_members == Some(0), E::MaxMembers),
        (password_bytes > PASSWORD_MAX_BYTES, E::Password),
        (!bounds.kept.honours(durable), E::Durability),
        (outside(patch.history_size, 0, HISTORY_SIZE_MAX), E::HistorySize),
        (outside(patch.history_bytes, 1, bounds.history_bytes), E::HistoryBytes),
        (patch.history_ttl_ms == Some(0), E::HistoryTtl),
        (outside(patch.message_bytes, 1, bounds.message_bytes), E::MessageBytes),
        (no_burst, E::Rate),
        (outside(patch.slow_mode_ms, 0, SLOW_MODE_MAX_MS), E::SlowMode),
        (metadata_bytes > METADATA_MAX_BYTES, E::Metadata),
    ];
    match wrong.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, error)) => Err(error),
        None => validate_word_filter(patch),
    }
}

fn outside<T: Copy + PartialOrd>(value: Option<T>, least: T, most: T) -> bool {
    value.is_some_and(|value| value < least || value > most)
}

fn validate_word_filter(patch: &RoomPatch) -> Result<(), ConfigError> {
    let Some(filter) = &patch.word_filter else { return Ok(()) };
    let entries = || filter.words.iter().chain(&filter.patterns);
    let bytes = entries().map(String::len).sum::<usize>();
    if entries().count() > FILTER_ENTRIES_MAX || bytes > FILTER_MAX_BYTES {
        return Err(ConfigError::WordFilterSize);
    }
    let compiles = |pattern: &String| {
        regex::RegexBuilder::new(pattern).size_limit(PATTERN_MAX_BYTES).build().is_ok()
    };
    let is_sound = !filter.words.iter().any(String::is_empty)
        && filter.patterns.iter().all(compiles)
        && Censor::new(filter).is_some();
    if is_sound { Ok(()) } else { Err(ConfigError::WordFilterPattern) }
}
