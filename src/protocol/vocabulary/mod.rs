//! The words of the protocol: closed sets of names, each with its one spelling on the wire.
//!
//! Invariant: a word is spelled in exactly one place, and reading what was written gives it back.

mod close_reason;
mod error_code;
mod filter;
mod moderation;
mod priority;
mod reason;
mod request_id;
mod room;

pub use close_reason::CloseReason;
pub use error_code::ErrorCode;
pub use filter::{Filter, Scalar};
pub use moderation::ModerationAction;
pub use priority::Priority;
pub use reason::{GapReason, LeftReason, PresenceAction};
pub use request_id::RequestId;
pub use room::{
    Durability, FilterAction, Mode, Role, RoomPatch, RoomRate, RoomType, SlowConsumer, WordFilter,
};

/// An enum of wire words: `ALL`, `as_str` and `parse` from one table.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$word_meta:meta])* $word:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$word_meta])* $word,)+ }

        impl $name {
            /// Every word, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$word,)+];

            /// The spelling on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }

            /// The word spelled so.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$word),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests;
