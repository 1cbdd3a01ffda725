//! Who of a room gets a message.

use crate::clock::Moment;
use crate::room::filter::Receiver;
use crate::room::hub::Interest;
use crate::room::publication::Publication;

use super::connection::Connection;

/// A connection that may get messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) interest: Option<&'a Interest>,
    pub(super) now: Moment,
}

impl Reader<'_> {
    /// Whether this message, which is new, is for it, and it is not one too many.
    pub(super) fn takes(self, publication: &Publication) -> bool {
        let audience = publication.audience.as_ref();
        self.gets(publication) && audience.is_none_or(|it| it.take(self.connection.reader()))
    }

    /// The same of one that it may have got before.
    pub(super) fn takes_again(self, publication: &Publication) -> bool {
        let audience = publication.audience.as_ref();
        self.gets(publication) && audience.is_none_or(|it| it.take_again(self.connection.reader()))
    }

    /// Whether this message is for it: by its own wishes, and by the publisher's.
    pub(super) fn gets(self, publication: &Publication) -> bool {
        self.wants(publication) && self.is_meant(publication) && !self.is_excluded(publication)
    }

    fn wants(self, publication: &Publication) -> bool {
        let event = publication.event.as_deref();
        self.interest.is_none_or(|interest| interest.wants(event, publication.priority))
    }

    /// Generations make the address of a connection its own, so this holds on replay too.
    fn is_excluded(self, publication: &Publication) -> bool {
        let author = publication.author.as_ref().filter(|_| publication.exclude_self);
        author.is_some_and(|author| self.connection.is_called(&author.connection))
    }

    fn is_meant(self, publication: &Publication) -> bool {
        publication.audience.as_ref().is_none_or(|audience| {
            let receiver = Receiver {
                user: self.connection.identity.user.as_deref(),
                metadata: &self.connection.identity.metadata,
                opened_at: self.connection.opened,
            };
            audience.includes(&receiver, self.now)
        })
    }
}
