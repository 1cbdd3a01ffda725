//! How urgent a message is.

super::words! {
    /// How urgent a message is; the order of variants is the order of urgency.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Priority {
        /// First to be dropped.
        Low => "low",
        /// Where nothing is said.
        #[default]
        Normal => "normal",
        /// Before the others.
        High => "high",
        /// Never dropped: the connection is closed instead.
        Critical => "critical",
    }
}
