//! Making the link: connecting, and reading what the server is.
//!
//! Invariant: a link is only up once the server is known to be new enough, to take writes, to know
//! the scripts, and to be used by nodes of this version.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, Value,
};
use tokio::sync::Notify;

use crate::config::Redis;
use crate::metrics::LinkState;
use crate::room::broker::Kept;
use crate::room::wire;

use super::failure;
use super::keys::Keys;
use super::script::Scripts;

/// News that may wait for the bridge to look.
const HEARD_MOST: usize = 131_072;

/// Something was said on a channel.
#[derive(Debug)]
pub(super) struct Heard {
    /// What was listened to: the channel, or a pattern that it fits.
    pub(super) by: Vec<u8>,
    pub(super) channel: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// What came over one link and was not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Ear {
    heard: Mutex<Waiting>,
    rung: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    news: VecDeque<Heard>,
    has_ended: bool,
    has_missed: bool,
}

/// A link that is up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) ear: Arc<Ear>,
    /// What tells this server from others, and from itself before it was started again.
    pub(super) server: String,
    pub(super) kept: Kept,
}

impl Ear {
    /// What was heard, whether more was heard than could be kept, and whether the link has ended.
    pub(super) fn take(&self) -> (VecDeque<Heard>, bool, bool) {
        let mut waiting = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = std::mem::take(&mut waiting.has_missed);
        (std::mem::take(&mut waiting.news), missed, waiting.has_ended)
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    fn hear(&self, info: PushInfo) {
        let mut waiting = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match info.kind {
            PushKind::SMessage | PushKind::Message | PushKind::PMessage => match heard(info) {
                Some(heard) if waiting.news.len() < HEARD_MOST => waiting.news.push_back(heard),
                Some(_) => waiting.has_missed = true,
                None => {}
            },
            PushKind::Disconnection => waiting.has_ended = true,
            _ => return,
        }
        drop(waiting);
        self.rung.notify_one();
    }
}

/// `[CHANNEL, PAYLOAD]`, or `[PATTERN, CHANNEL, PAYLOAD]`
fn heard(info: PushInfo) -> Option<Heard> {
    let mut parts = info.data.into_iter().map(|part| match part {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    });
    let by = parts.next()??;
    let channel = match info.kind {
        PushKind::PMessage => parts.next()??,
        _ => by.clone(),
    };
    Some(Heard { by, channel, payload: parts.next()?? })
}

/// Makes a link; the name of what is wrong if there is none to be had.
pub(super) async fn make(
    settings: &Redis,
    keys: &Keys,
    scripts: &Scripts,
) -> Result<Link, LinkState> {
    let ear = Arc::new(Ear::default());
    let mut connection = connect(settings, Arc::clone(&ear)).await.map_err(|error| name(&error))?;
    let info = ask::<String>(&mut connection, &["INFO"]).await.map_err(|error| name(&error))?;
    let fact = |key: &str| {
        info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("")
    };
    let major = fact("redis_version").split('.').next().and_then(|it| it.parse::<u32>().ok());
    if major.unwrap_or(0) < 7 {
        return Err(LinkState::TooOld);
    }
    if fact("redis_mode") == "cluster" {
        return Err(LinkState::Cluster);
    }
    if fact("loading") != "0" {
        return Err(LinkState::Loading);
    }
    if fact("role") != "master" {
        return Err(LinkState::ReadOnly);
    }
    let server = fact("run_id").to_owned();
    for load in scripts.load() {
        load.query_async::<String>(&mut connection).await.map_err(|error| name(&error))?;
    }
    agree(&mut connection, keys).await?;
    let kept = kept(&mut connection).await;
    Ok(Link { connection, ear, server, kept })
}

fn name(error: &RedisError) -> LinkState {
    tracing::debug!(%error, "Redis");
    failure::state(error)
}

async fn connect(settings: &Redis, ear: Arc<Ear>) -> RedisResult<MultiplexedConnection> {
    let url = settings.url.as_deref().unwrap_or_default();
    let info = url.into_connection_info()?;
    let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose());
    }
    let timeout = Some(Duration::from_millis(settings.timeout_ms));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(timeout)
        .set_response_timeout(timeout)
        .set_push_sender(move |info: PushInfo| {
            ear.hear(info);
            Ok::<(), ()>(())
        });
    let client = Client::open(info.set_redis_settings(redis))?;
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> RedisResult<T> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await
}

/// All nodes on one Redis write the same version: the first one says which.
async fn agree(connection: &mut MultiplexedConnection, keys: &Keys) -> Result<(), LinkState> {
    let (key, ours) = (keys.version(), wire::VERSION.to_string());
    let theirs: Option<String> =
        ask(connection, &["SET", &key, &ours, "NX", "GET"]).await.map_err(|error| name(&error))?;
    match theirs {
        Some(theirs) if theirs != ours => {
            tracing::error!(%theirs, %ours, "the nodes on this Redis write another version");
            Err(LinkState::OtherVersion)
        }
        _ => Ok(()),
    }
}

/// What the server is configured to keep; what it does not tell, it is not believed to do.
async fn kept(connection: &mut MultiplexedConnection) -> Kept {
    let words = ["CONFIG", "GET", "appendonly", "appendfsync", "maxmemory-policy"];
    let told = ask::<std::collections::HashMap<String, String>>(connection, &words).await;
    let Ok(config) = told else {
        tracing::warn!("Redis does not tell its configuration: rooms can have no durability there");
        return Kept::Memory;
    };
    let is = |key: &str, value: &str| config.get(key).is_some_and(|found| found == value);
    let keeps_all = is("appendonly", "yes") && is("maxmemory-policy", "noeviction");
    match config.get("appendfsync").map(String::as_str) {
        Some("always") if keeps_all => Kept::Always,
        Some("everysec") if keeps_all => Kept::EverySecond,
        _ => Kept::Memory,
    }
}
