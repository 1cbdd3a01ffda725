//! Who of a room gets a message.

/// Who of a room gets a message: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these users.
    pub users: Option<Box<[Box<str>]>>,
    /// None of these users.
    pub exclude_users: Box<[Box<str>]>,
    /// What the credential must say, by key.
    pub metadata: Box<[(Box<str>, Scalar)]>,
    /// Only connections at least so old.
    pub min_connection_age_ms: Option<u64>,
    /// Only so many connections of each node.
    pub max_connections: Option<u64>,
}

/// A value that a credential's metadata is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(Box<str>),
}
