//! Settings of the Redis bridge, which makes many nodes one server.

use std::path::PathBuf;

use crate::config::Config;
use crate::config::redis_url::{RedisUrl, WANTED};
use crate::config::secret::Secret;
use crate::config::section::DEFAULT_TENANT;
use crate::config::table::{DAY_MS, GIB, MIB, MINUTE_MS, range, section};

section! {
    /// Redis, through which many nodes are one server.
    pub Config.redis: Redis {
        /// Where Redis is: `redis://HOST:PORT`, `rediss://…` for TLS, or `unix:///PATH`; of a cluster one or more of its nodes, divided by commas; none: this node is by itself, unless Sentinels are given.
        url: Option<String> = None;
        /// Whether it is a Redis Cluster.
        cluster: bool = false;
        /// Where Sentinels are that say where the primary is, `redis://HOST:PORT` or `rediss://HOST:PORT`, which goes for the primary as well; in place of `redis.url`.
        sentinels: Vec<String> = Vec::new();
        /// What the Sentinels call the primary.
        master: Option<String> = None;
        /// The ACL user of the Sentinels; none: the default user.
        sentinel_username: Option<String> = None;
        /// The password of that user.
        sentinel_password: Option<Secret> = None;
        /// Certificates to trust in place of the system's, in PEM.
        ca_file: Option<PathBuf> = None;
        /// The certificate that this node shows, in PEM; none: it shows none.
        certificate_file: Option<PathBuf> = None;
        /// The key of the certificate that this node shows, in PEM.
        key_file: Option<PathBuf> = None;
        /// The ACL user; none: the default user.
        username: Option<String> = None;
        /// The password of that user.
        password: Option<Secret> = None;
        /// What all keys and channels begin with: letters, digits, `-`, `_` and `:`.
        prefix: String = "ringroom".to_owned();
        /// How long Redis may take to answer before a publish is refused and the link counts as lost.
        timeout_ms: u64 = 2_000, range(50..=10 * MINUTE_MS), Milliseconds;
        /// The longest pause between two attempts to connect; each pause is a random part of it.
        reconnect_max_ms: u64 = 5_000, range(10..=10 * MINUTE_MS), Milliseconds;
        /// How long a room that nobody here has joined is still listened to.
        grace_ms: u64 = 10_000, range(0..=60 * MINUTE_MS), Milliseconds;
        /// How long after the end of a node without a farewell its users are gone on all others.
        lease_ms: u64 = 10_000, range(1_000..=10 * MINUTE_MS), Milliseconds;
        /// How long Redis remembers a room in which nothing happens.
        room_ttl_ms: u64 = 7 * DAY_MS, range(MINUTE_MS..=365 * DAY_MS), Milliseconds;
        /// How long all nodes write an older wire form after the last node that knows no newer one: for so long such a node can come back.
        older_form_ms: u64 = 60 * MINUTE_MS, range(1_000..=365 * DAY_MS), Milliseconds;
        /// Publishes that may wait for Redis; more are refused.
        queue_messages: u32 = 65_536, range(16..=16_777_216), Count;
        /// Bytes of publishes that may wait for Redis; more are refused.
        queue_bytes: u64 = 64 * MIB, range(1_024..=64 * GIB), Bytes;
        /// Where clients reach this node, as `GET /v1/nodes` tells it on all nodes; none: the addresses it listens on, which on `0.0.0.0` tell no node from another.
        advertise: Option<String> = None;
        /// Whether the node is ready while Redis is out of reach.
        ready_without: bool = true;
    }
}

section! {
    /// Backends that know nothing but Redis' `PUBLISH`: what they say on channels of their own goes to
    /// the connections of one tenant, without an offset, and is not kept.
    pub Config.redis_interop as "redis.interop": RedisInterop {
        /// Whether such channels are listened to.
        enabled: bool = false;
        /// What they begin with, before `broadcast`, `user:ID`, `connection:ID` and `room:ID`: letters, digits, `-`, `_`, `.`, `/` and `:`.
        prefix: String = "ws:".to_owned();
        /// Whose connections hear what is said there.
        tenant: String = DEFAULT_TENANT.to_owned();
    }
}

impl RedisInterop {
    /// The pattern of all its channels. Nothing in a prefix means something in a pattern.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// The first setting that does not go with `config`, what was found, and what may be there.
    pub(in crate::config) fn conflict(
        &self,
        config: &Config,
    ) -> Option<(&'static str, String, String)> {
        let quoted = crate::config::setting::quoted;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(plain) {
            let wanted = "1 to 64 letters, digits, \"-\", \"_\", \".\", \"/\" and \":\"";
            return Some(("prefix", quoted(&self.prefix), wanted.to_owned()));
        }
        if !self.enabled {
            return None;
        }
        if !config.redis.is_on() {
            let wanted = "false, because neither redis.url nor redis.sentinels is set";
            return Some(("enabled", "true".to_owned(), wanted.to_owned()));
        }
        let ours = format!("{}:", config.redis.prefix);
        if ours.starts_with(&self.prefix) || self.prefix.starts_with(&ours) {
            let wanted =
                format!("one that no key of redis.prefix has: those begin with \"{ours}\"");
            return Some(("prefix", quoted(&self.prefix), wanted));
        }
        let is_known = match config.tenants.is_empty() {
            true => self.tenant == DEFAULT_TENANT,
            false => config.tenants.contains_key(&self.tenant),
        };
        (!is_known).then(|| ("tenant", quoted(&self.tenant), "one of the tenants".to_owned()))
    }
}

impl Redis {
    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.url.is_some() || !self.sentinels.is_empty()
    }

    /// The servers that are asked first: the Redis itself, some of a cluster, or the Sentinels. What is
    /// no address is left out: the configuration was checked when it was read.
    #[must_use]
    pub fn seeds(&self) -> Vec<RedisUrl> {
        self.addresses().filter_map(|(_, url)| RedisUrl::parse(url).ok()).collect()
    }

    /// What may be the address of a server, each with its setting.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let urls = self.url.iter().flat_map(|url| url.split(',')).map(|url| ("url", url.trim()));
        urls.chain(self.sentinels.iter().map(|url| ("sentinels", url.trim())))
    }

    /// The settings that do not go with the others, what was found, and what may be there.
    pub(in crate::config) fn conflicts(&self) -> Vec<(&'static str, String, String)> {
        let bad = self.addresses().filter_map(|(row, url)| {
            let found = RedisUrl::parse(url).err()?;
            Some((row, found, WANTED.to_owned()))
        });
        let bad: Vec<_> = bad.collect();
        if !bad.is_empty() {
            return bad;
        }
        let (seeds, by_sentinels) = (self.seeds(), !self.sentinels.is_empty());
        let (is_given, is_several) = (self.url.is_some(), seeds.len() > 1 && !by_sentinels);
        let of_tls = seeds.iter().filter(|url| url.is_tls()).count();
        let has_socket = seeds.iter().any(|url| matches!(url, RedisUrl::Unix(_)));
        let tells_of_others = if by_sentinels { "sentinels" } else { "url" };
        let has_master = self.master.as_ref().is_some_and(|name| !name.is_empty());
        let has_pair = self.certificate_file.is_some() && self.key_file.is_some();
        let only_tls = "nothing, because no TLS is spoken: \"rediss://HOST:PORT\"";
        let only_sentinels = "nothing, because redis.sentinels is not set";
        let needs_password = "nothing, or a password as well";
        #[rustfmt::skip]
        let rules = [
            (is_several && !self.cluster, "url", "several URLs", "one URL, or redis.cluster = true"),
            (is_given && by_sentinels, "url", "a URL", "none, because redis.sentinels say where the primary is"),
            (has_socket && (self.cluster || by_sentinels), tells_of_others, "a UNIX socket", "hosts, because they tell of others"),
            (of_tls > 0 && of_tls < seeds.len(), tells_of_others, "some with TLS and some without", "all \"redis://\", or all \"rediss://\""),
            (self.cluster && !is_given, "cluster", "true", "false, because redis.url is not set"),
            (by_sentinels && !has_master, "master", "nothing", "the name of the primary, because redis.sentinels is set"),
            (!by_sentinels && has_master, "master", "a name", only_sentinels),
            (!by_sentinels && self.sentinel_username.is_some(), "sentinel_username", "a name", only_sentinels),
            (!by_sentinels && self.sentinel_password.is_some(), "sentinel_password", "a password", only_sentinels),
            (self.sentinel_username.is_some() && self.sentinel_password.is_none(), "sentinel_username", "a name", needs_password),
            (self.username.is_some() && self.password.is_none(), "username", "a name", needs_password),
            (self.certificate_file.is_some() && !has_pair, "certificate_file", "a certificate", "its key in redis.key_file as well"),
            (self.key_file.is_some() && !has_pair, "key_file", "a key", "its certificate in redis.certificate_file as well"),
            (self.ca_file.is_some() && of_tls == 0, "ca_file", "a file", only_tls),
            (has_pair && of_tls == 0, "certificate_file", "a file", only_tls),
        ];
        let broken = rules.into_iter().filter(|(is_broken, ..)| *is_broken);
        broken.map(|(_, row, found, wanted)| (row, found.to_owned(), wanted.to_owned())).collect()
    }
}
