//! What one word of a credential grants: `join`, `publish:cursor.*`, `*`.

use super::super::right::Right;

/// A right, perhaps for some events only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `*`: every right.
    All,
    /// `join`: a right, for every event.
    Right(Right),
    /// `publish:cursor.move` or `publish:cursor.*`: a right, for this event or those that begin so.
    Event(Right, Box<str>),
}

/// The text is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPermission;

impl Permission {
    /// The longest name of an event.
    pub const EVENT_BYTES: usize = 128;

    /// Reads one.
    ///
    /// # Errors
    /// If there is no such right, or it has no events and one is named.
    pub fn parse(text: &str) -> Result<Self, NoPermission> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, event) = match text.split_once(':') {
            Some((name, event)) => (name, Some(event)),
            None => (text, None),
        };
        let known = Right::ALL.iter().find(|(known, _)| *known == name);
        let (_, right) = known.ok_or(NoPermission)?;
        match event {
            None => Ok(Self::Right(*right)),
            Some(event) if !right.has_events() || !is_event(event) => Err(NoPermission),
            Some(event) => Ok(Self::Event(*right, event.into())),
        }
    }

    /// What a list of rooms without further words grants on them.
    #[must_use]
    pub fn in_a_room() -> [Self; 4] {
        [Right::Join, Right::Publish, Right::History, Right::Presence].map(Self::Right)
    }

    /// The right it is about; none: all.
    #[must_use]
    pub fn right(&self) -> Option<Right> {
        match self {
            Self::All => None,
            Self::Right(right) | Self::Event(right, _) => Some(*right),
        }
    }

    /// Whether it grants `right` for this event.
    pub(super) fn allows(&self, right: Right, event: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Right(granted) => *granted == right,
            Self::Event(granted, wanted) => {
                *granted == right
                    && event.is_some_and(|event| match wanted.strip_suffix('*') {
                        Some(beginning) => event.starts_with(beginning),
                        None => event == &**wanted,
                    })
            }
        }
    }
}

/// Whether it is the name of an event, or the beginning of one and a star.
fn is_event(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty()
        && text.len() <= Permission::EVENT_BYTES
        && !name.contains(|c: char| c == '*' || c.is_control())
}
