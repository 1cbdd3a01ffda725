//! The names of all fields of all messages that the server reads.

/// An enum of field names. Matching bytes, not text, lets the compiler build a decision tree.
macro_rules! names {
    ($($name:ident $text:literal,)+) => {
        /// The name of a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($name,)+ }

        impl Name {
            /// How many there are.
            pub(super) const COUNT: usize = [$(Self::$name,)+].len();

            /// Every name.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name spelled so.
            pub(super) fn parse(text: &[u8]) -> Option<Self> {
                match text { $($text => Some(Self::$name),)+ _ => None }
            }

            /// The spelling on the wire.
            pub(super) const fn as_bytes(self) -> &'static [u8] {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

names! {
    Type b"type", Id b"id",
    Room b"room", Data b"data", Event b"event", Content b"content",
    Token b"token", Password b"password",
    Since b"since", Before b"before", Epoch b"epoch", Offset b"offset",
    Presence b"presence", Events b"events", MinPriority b"min_priority",
    ExcludeSelf b"exclude_self", Transient b"transient", Key b"key", Priority b"priority",
    TtlMs b"ttl_ms", Filter b"filter", Receipt b"receipt",
    To b"to", User b"user", Users b"users", Connection b"connection",
    ExcludeUsers b"exclude_users", Metadata b"metadata",
    MinConnectionAgeMs b"min_connection_age_ms", MaxConnections b"max_connections",
    Limit b"limit", Reverse b"reverse", After b"after", Info b"info",
    Ip b"ip", ForMs b"for_ms", Role b"role", Reason b"reason",
    Pattern b"pattern", Messages b"messages",
    Error b"error", Code b"code", Message b"message",
    Config b"config", Persistent b"persistent", MaxMembers b"max_members", Mode b"mode",
    Durability b"durability", HistorySize b"history_size", HistoryBytes b"history_bytes",
    HistoryTtlMs b"history_ttl_ms", SlowConsumer b"slow_consumer", PublishRole b"publish_role",
    MessageBytes b"message_bytes", Rate b"rate", PerSecond b"per_second", Burst b"burst",
    SlowModeMs b"slow_mode_ms", WordFilter b"word_filter", Words b"words", Patterns b"patterns",
    Action b"action", Compress b"compress", ParentInherit b"parent_inherit",
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_read_back() {
        for (place, name) in Name::ALL.iter().enumerate() {
            assert_eq!(Name::parse(name.as_bytes()), Some(*name));
            assert_eq!(*name as usize, place, "fields are kept by place");
            assert_eq!(name.to_string().as_bytes(), name.as_bytes());
        }
        for unknown in ["", "types", "typ", "Type", "room "] {
            assert_eq!(Name::parse(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn the_reference_has_every_field_that_is_read() {
        let reference = include_str!("PROTOCOL.md");
        let is_letter = |it: char| it.is_alphanumeric() || it == '_';
        let words: Vec<_> = reference.split(|it| !is_letter(it)).collect();
        for name in Name::ALL {
            assert!(words.contains(&&*name.to_string()), "PROTOCOL.md does not know {name}");
        }
    }
}
