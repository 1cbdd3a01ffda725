//! Making the link to one server: connecting, and reading what the server is.
//!
//! Invariant: a link is only up once the server is known to be new enough, to take writes, to know
//! the scripts, and to be used by nodes that write a form that this one knows.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use redis::{RedisResult, Value};

use crate::config::{Config, RedisUrl};
use crate::metrics::{self, LinkState};
use crate::room::broker::{Disk, Kept};

use super::call::Forms;
use super::dial::{Login, named};
use super::ear::{Ear, Inbox};
use super::failure;
use super::keys::Keys;
use super::mouth::{Connection, Mouth};
use super::script::{Name, Scripts};

/// With it, Redis syncs nothing while it rewrites its log or saves, whatever `appendfsync` says.
const UNSYNCED: &str = "no-appendfsync-on-rewrite";

/// A link that is up.
#[derive(Debug)]
pub(super) struct Link {
    /// Where the usual commands are given.
    pub(super) mouth: Mouth,
    /// Where those are given that wait for so many replicas, so that no others wait behind them: each is
    /// made when it is first needed.
    pub(super) patient: BTreeMap<u8, Mouth>,
    pub(super) ear: Ear,
    /// What tells this server from others, and from itself before it was started again or was a replica;
    /// never 0.
    pub(super) server: u64,
    pub(super) kept: Kept,
}

/// What is needed to make one.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) config: Arc<Config>,
    pub(super) keys: Arc<Keys>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) inbox: Rc<Inbox>,
    pub(super) metrics: Arc<metrics::Bridge>,
    /// The forms that this node knows.
    pub(super) forms: Forms,
    /// The server that has what the nodes agree on; none: no server has that slot now.
    pub(super) keeper: Option<RedisUrl>,
}

impl Maker {
    /// Makes the link of this number; the name of what is wrong if there is none to be had.
    pub(super) async fn make(self, url: &RedisUrl, line: u64) -> Result<Link, LinkState> {
        let redis = &self.config.redis;
        let mouth = Mouth::open(redis, url, Login::of(redis)).await?;
        let info: RedisResult<String> = mouth.connection.ask(&redis::cmd("INFO")).await;
        let info = info.map_err(|error| named(&error))?;
        let major = fact(&info, "redis_version").split('.').next().unwrap_or_default();
        if major.parse::<u32>().unwrap_or(0) < 7 {
            return Err(LinkState::TooOld);
        }
        match (fact(&info, "redis_mode"), redis.cluster) {
            ("cluster", false) => return Err(LinkState::Cluster),
            ("cluster", true) | (_, false) => {}
            (_, true) => return Err(LinkState::NoCluster),
        }
        if fact(&info, "loading") != "0" {
            return Err(LinkState::Loading);
        }
        if fact(&info, "role") != "master" {
            return Err(LinkState::ReadOnly);
        }
        let mut server = DefaultHasher::new();
        ["run_id", "master_replid"].map(|name| fact(&info, name)).hash(&mut server);
        self.teach(&mouth.connection).await?;
        self.try_out(&mouth.connection).await?;
        self.agree(&mouth.connection, url).await?;
        let kept = kept(&mouth.connection).await.map_err(|error| named(&error))?;
        let ear = Ear::open(redis, url, self.inbox, line).await?;
        Ok(Link { mouth, patient: BTreeMap::new(), ear, server: server.finish().max(1), kept })
    }

    /// Makes a server know the scripts.
    async fn teach(&self, connection: &Connection) -> Result<(), LinkState> {
        for load in self.scripts.load() {
            let loaded: RedisResult<String> = connection.ask(&load).await;
            loaded.map_err(|error| named(&error))?;
        }
        Ok(())
    }

    /// A server that takes no writes would end the link with the first one.
    async fn try_out(&self, connection: &Connection) -> Result<(), LinkState> {
        let probe = self.scripts.call(Name::Probe, &[]);
        match connection.ask::<Value>(&probe).await {
            Err(error) if failure::ends_link(&error) => Err(named(&error)),
            _ => Ok(()),
        }
    }

    /// Nothing is said over a link before it is known in which form. One server of a cluster keeps it;
    /// once that has told it, beats follow what becomes of it, and links to others need not wait.
    async fn agree(&self, connection: &Connection, url: &RedisUrl) -> Result<(), LinkState> {
        let form = match &self.keeper {
            Some(keeper) if keeper == url => self.ask_form(connection).await?,
            _ if self.forms.is_agreed() => return Ok(()),
            Some(keeper) => {
                let redis = &self.config.redis;
                let other = Mouth::open(redis, keeper, Login::of(redis)).await?;
                self.teach(&other.connection).await?;
                self.ask_form(&other.connection).await?
            }
            None => return Err(LinkState::ClusterDown),
        };
        self.metrics.form.set(form);
        if self.forms.hold(form) { Ok(()) } else { Err(LinkState::OtherVersion) }
    }

    async fn ask_form(&self, connection: &Connection) -> Result<u64, LinkState> {
        let ask = self.forms.ask(&self.keys, &self.scripts);
        let told: RedisResult<u64> = connection.ask(&ask).await;
        told.map_err(|error| named(&error))
    }
}

fn fact<'a>(info: &'a str, key: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("")
}

/// How safe the server keeps things now; what it does not tell, it is not believed to do.
pub(super) async fn kept(connection: &Connection) -> RedisResult<Kept> {
    let info: String = connection.ask(redis::cmd("INFO").arg("replication")).await?;
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg(&["appendonly", "appendfsync", UNSYNCED, "maxmemory-policy"]);
    let config = match connection.ask::<HashMap<String, String>>(&get).await {
        Ok(config) => config,
        Err(error) if error.code().is_some() => {
            let error = failure::Said(&error);
            tracing::warn!(%error, "Redis does not tell its configuration: rooms can have no durability");
            HashMap::new()
        }
        Err(error) => return Err(error),
    };
    Ok(judge(&info, &config))
}

fn judge(replication: &str, config: &HashMap<String, String>) -> Kept {
    let is = |key: &str, value: &str| config.get(key).is_some_and(|found| found == value);
    if !is("maxmemory-policy", "noeviction") {
        return Kept::default();
    }
    let is_synced = is("appendonly", "yes") && is(UNSYNCED, "no");
    let disk = match config.get("appendfsync").map(String::as_str) {
        Some("always") if is_synced => Disk::Always,
        Some("everysec") if is_synced => Disk::EverySecond,
        _ => Disk::Memory,
    };
    let is_replica = |line: &&str| line.starts_with("slave") && line.contains("state=online");
    let replicas = replication.lines().filter(is_replica).count();
    Kept { disk, replicas: u8::try_from(replicas).unwrap_or(u8::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_keeps_is_what_it_is_configured_for() {
        let info = "role:master\nconnected_slaves:2\n\
                    slave0:ip=::1,port=1,state=online,offset=1,lag=0\n\
                    slave1:ip=::1,port=2,state=wait_bgsave,offset=0,lag=0\n";
        let names = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"];
        let config = |values: [&str; 4]| -> HashMap<String, String> {
            names.into_iter().zip(values).map(|(name, value)| (name.into(), value.into())).collect()
        };
        for (values, disk, replicas) in [
            (["yes", "always", "no", "noeviction"], Disk::Always, 1),
            (["yes", "everysec", "no", "noeviction"], Disk::EverySecond, 1),
            (["yes", "no", "no", "noeviction"], Disk::Memory, 1),
            (["no", "always", "no", "noeviction"], Disk::Memory, 1),
            (["yes", "always", "yes", "noeviction"], Disk::Memory, 1),
            (["yes", "everysec", "yes", "noeviction"], Disk::Memory, 1),
            (["yes", "always", "no", "allkeys-lru"], Disk::Memory, 0),
        ] {
            assert_eq!(judge(info, &config(values)), Kept { disk, replicas }, "{values:?}");
        }
        for untold in names {
            let mut config = config(["yes", "always", "no", "noeviction"]);
            config.remove(untold);
            assert_eq!(judge(info, &config).disk, Disk::Memory, "{untold} is not told");
        }
    }
}
