//! What rooms are called in Redis.
//!
//! All of a room's keys and its channel share one hash tag, which is made of the tenant and the name
//! in base64url with a dot between, which neither can contain: so two rooms never share a key, one room is one slot, and no
//! text of a user is ever part of a pattern or seen by the protocol.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::id::TenantId;
use crate::room::name::RoomKey;
use crate::tenant::Tenants;

/// Makes the keys of rooms.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    /// What tenants are called, by their ids here; other nodes may have other ids.
    tenants: Vec<String>,
}

/// The keys of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomKeys {
    /// `PREFIX:{TENANT.NAME}:`
    base: String,
}

impl Keys {
    /// All begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, tenants: &Tenants) -> Self {
        let all = (0..tenants.count()).map(|id| tenants.get(TenantId(id)));
        let tenants = all.map(|tenant| URL_SAFE_NO_PAD.encode(&*tenant.name)).collect();
        Self { prefix: prefix.to_owned(), tenants }
    }

    pub(super) fn room(&self, room: &RoomKey) -> RoomKeys {
        let tenant = self.tenant(room.tenant);
        let name = URL_SAFE_NO_PAD.encode(room.name.as_str());
        RoomKeys { base: format!("{}:{{{tenant}.{name}}}:", self.prefix) }
    }

    /// Where a node is spoken to: one slot.
    pub(super) fn node(&self, node: &str) -> String {
        format!("{}:node:{{{node}}}", self.prefix)
    }

    /// The connections of a user. No room's tag has two dots.
    pub(super) fn places(&self, tenant: TenantId, user: &str) -> String {
        let tenant = self.tenant(tenant);
        format!("{}:{{{tenant}.{}.u}}:places", self.prefix, URL_SAFE_NO_PAD.encode(user))
    }

    /// Which nodes there are, until when, and what they say of themselves: one slot.
    pub(super) fn nodes(&self) -> [String; 2] {
        ["until", "facts"].map(|what| format!("{}:{{nodes}}:{what}", self.prefix))
    }

    /// What nodes receive by patterns, until when each takes part, until when it is believed to live, and
    /// which rooms were called: one slot.
    pub(super) fn patterns(&self) -> [String; 4] {
        let [until, _] = self.nodes();
        let [all, parts] =
            ["patterns", "watchers"].map(|what| format!("{}:{{nodes}}:{what}", self.prefix));
        [all, parts, until, self.calls()]
    }

    /// Which rooms were called.
    pub(super) fn calls(&self) -> String {
        format!("{}:{{nodes}}:calls", self.prefix)
    }

    /// What a tenant is called, on all nodes.
    pub(super) fn tenant(&self, tenant: TenantId) -> &str {
        // There is no other: ids are given where the names are read.
        self.tenants.get(tenant.0 as usize).map_or("", String::as_str)
    }

    /// Which tenant is called so; none if none here is.
    pub(super) fn tenant_called(&self, name: &[u8]) -> Option<TenantId> {
        let at = self.tenants.iter().position(|tenant| tenant.as_bytes() == name)?;
        u32::try_from(at).ok().map(TenantId)
    }

    /// All of them.
    pub(super) fn tenants(&self) -> impl Iterator<Item = TenantId> + use<> {
        (0..u32::try_from(self.tenants.len()).unwrap_or(u32::MAX)).map(TenantId)
    }

    /// What the operator has decided, in which order, what each says, and when it ends: one slot.
    pub(super) fn decisions(&self) -> [String; 3] {
        ["order", "lines", "ends"].map(|what| format!("{}:{{decisions}}:{what}", self.prefix))
    }

    /// What a session has, which is one slot. Its name there does not tell the secret.
    pub(super) fn session(&self, session: [u8; 16]) -> String {
        let hash = ring::digest::digest(&ring::digest::SHA256, &session);
        format!("{}:session:{}", self.prefix, URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
    }

    /// The form in which the nodes here write, and when somebody last needed it: in the slot of the nodes.
    pub(super) fn form(&self) -> String {
        format!("{}:{{nodes}}:form", self.prefix)
    }
}

impl RoomKeys {
    /// Its epoch, its last offset, and what that was.
    pub(super) fn state(&self) -> String {
        [&self.base, "s"].concat()
    }

    /// Its history.
    pub(super) fn history(&self) -> String {
        [&self.base, "h"].concat()
    }

    /// Where its news are told.
    pub(super) fn channel(&self) -> String {
        [&self.base, "c"].concat()
    }

    /// Who is there.
    pub(super) fn attendance(&self) -> String {
        [&self.base, "p"].concat()
    }

    /// What has been decided about it.
    pub(super) fn charter(&self) -> String {
        [&self.base, "d"].concat()
    }

    /// How far its users have come in it.
    pub(super) fn bookmarks(&self) -> String {
        [&self.base, "a"].concat()
    }

    /// To which rooms a user, whose room it is, is invited.
    pub(super) fn invitations(&self) -> String {
        [&self.base, "i"].concat()
    }

    /// What was published with an idempotency key.
    pub(super) fn publication(&self, key: &str) -> String {
        format!("{}k:{}", self.base, URL_SAFE_NO_PAD.encode(key))
    }

    /// That a user has published, in slow mode.
    pub(super) fn pace(&self, user: &str) -> String {
        format!("{}w:{}", self.base, URL_SAFE_NO_PAD.encode(user))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::room::name::RoomName;

    fn keys() -> Keys {
        let mut config = Config::default();
        for name in ["default", "a", "a.b"] {
            config.tenants.insert(name.to_owned(), crate::config::Tenant::default());
        }
        Keys::new("ringroom", &Tenants::new(&config))
    }

    fn room(tenant: u32, name: &str) -> Option<RoomKey> {
        Some(RoomKey::new(TenantId(tenant), RoomName::parse(name).ok()?))
    }

    fn all_of(room: &RoomKey, key: &str) -> [String; 9] {
        let keys = keys().room(room);
        [
            keys.state(),
            keys.history(),
            keys.channel(),
            keys.attendance(),
            keys.charter(),
            keys.bookmarks(),
            keys.invitations(),
            keys.publication(key),
            keys.pace(key),
        ]
    }

    #[test]
    fn names_that_mean_something_to_redis_mean_nothing_here() {
        let names = [
            "a:b",
            "a",
            "b",
            "*",
            "?",
            "[x]",
            "{slot}",
            "}{",
            "}:s",
            "a}:s",
            "é",
            "e\u{301}",
            "\u{202e}abc",
            "a/b",
            "@",
            "0.YQ",
        ];
        let mut seen = HashMap::new();
        for tenant in [0, 1, 2] {
            for name in names {
                let Some(room) = room(tenant, name) else { continue };
                for text in all_of(&room, "k") {
                    let plain =
                        |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.{}".contains(&byte);
                    assert!(text.bytes().all(plain), "{text}");
                    assert_eq!(text.matches(['{', '}']).count(), 2, "{text}");
                    assert_eq!(seen.insert(text.clone(), room.clone()), None, "{text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_two_rooms_share_a_key(
            a in (0_u32..3, "\\PC{1,12}", "\\PC{0,6}"),
            b in (0_u32..3, "\\PC{1,12}", "\\PC{0,6}"),
        ) {
            let (Some(one), Some(other)) = (room(a.0, &a.1), room(b.0, &b.1)) else {
                return Ok(());
            };
            let (ours, theirs) = (all_of(&one, &a.2), all_of(&other, &b.2));
            for (at, text) in ours.iter().enumerate() {
                for (place, taken) in theirs.iter().enumerate() {
                    let same = one == other && at == place && (at < 7 || a.2 == b.2);
                    prop_assert_eq!(text == taken, same, "{} {}", text, taken);
                }
            }
        }
    }
}
