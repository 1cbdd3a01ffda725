//! Settings of the Redis bridge, which makes many nodes one server.

use std::path::PathBuf;

use crate::config::Config;
use crate::config::redis_url::{RedisTransport, RedisUrl, WANTED};
use crate::config::secret::Secret;
use crate::config::section::DEFAULT_TENANT;
use crate::config::table::{DAY_MS, GIB, MIB, MINUTE_MS, range, section};

section! {
    /// Redis, through which many nodes are one server.
    pub Config.redis: Redis {
        /// Where Redis is: `redis://HOST:PORT/DB`, `rediss://…` for TLS, or `unix:///PATH`; of a cluster one or more of its nodes, divided by commas; none: this node is by itself, unless Sentinels are given.
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
        let urls = self.url.iter().flat_map(|url| url.split(','));
        let all = urls.chain(self.sentinels.iter().map(String::as_str));
        all.filter_map(|url| RedisUrl::parse(url.trim()).ok()).collect()
    }

    /// The first setting that does not go with the others, what was found, and what may be there.
    pub(in crate::config) fn conflict(&self) -> Option<(&'static str, String, String)> {
        let wrong =
            |row, found: &str, wanted: &str| Some((row, found.to_owned(), wanted.to_owned()));
        let urls = self.url.as_deref().unwrap_or_default();
        for (row, url) in urls
            .split(',')
            .filter(|_| self.url.is_some())
            .map(|url| ("url", url))
            .chain(self.sentinels.iter().map(|url| ("sentinels", url.as_str())))
        {
            let url = match RedisUrl::parse(url.trim()) {
                Ok(url) => url,
                Err(found) => return wrong(row, &found, WANTED),
            };
            let is_unix = matches!(url.transport, RedisTransport::Unix(_));
            if (self.cluster || row == "sentinels") && (url.database != 0 || is_unix) {
                let wanted = "hosts without a database, because they tell of others";
                return wrong(row, &url.to_string(), wanted);
            }
        }
        let is_divided = urls.contains(',');
        if is_divided && !self.cluster {
            return wrong("url", "several URLs", "one URL, or redis.cluster = true");
        }
        if self.url.is_some() && !self.sentinels.is_empty() {
            return wrong("url", "a URL", "none, because redis.sentinels say where the primary is");
        }
        if self.cluster && self.url.is_none() {
            return wrong("cluster", "true", "false, because redis.url is not set");
        }
        if self.master.as_ref().is_none_or(String::is_empty) && !self.sentinels.is_empty() {
            return wrong(
                "master",
                "nothing",
                "the name of the primary, because redis.sentinels is set",
            );
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return wrong(
                "certificate_file",
                "one file",
                "both, a certificate and its key, or neither",
            );
        }
        None
    }
}
