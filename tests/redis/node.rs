//! A node: the real server with a Redis.

use crate::server::{Plan, Server, eventually};
use crate::store::Store;

/// Rooms that promise more than the usual ones.
const NAMESPACES: &str = r#"
listen = ["127.0.0.1:0"]

[namespaces.sure]
mode = "reliable"
history_size = 10000
history_bytes = 67108864

[namespaces.twice]
mode = "reliable"
durability = "replicas:1"
history_size = 10000
history_bytes = 67108864

[namespaces.thrice]
mode = "reliable"
durability = "replicas:2"

[namespaces.safe]
mode = "guaranteed"
durability = "always"
history_size = 10000
history_bytes = 67108864
"#;

/// Starts a node that is linked to a Redis.
pub(crate) fn node(store: &Store) -> Server {
    let node = unlinked(store, &[]);
    linked(&node);
    node
}

/// Starts a node, linked or not, with more settings.
pub(crate) fn unlinked(store: &Store, settings: &[&str]) -> Server {
    let url = format!("redis.url={}", store.url());
    let settings: Vec<_> = settings.iter().copied().chain([url.as_str()]).collect();
    with(&settings)
}

/// Starts a node with these settings, which say where its Redis is.
pub(crate) fn with(settings: &[&str]) -> Server {
    let usual = [
        "redis.timeout_ms=1000",
        "redis.reconnect_max_ms=200",
        "rooms.history_size=10000",
        "limits.recovery_messages=10000",
    ];
    let plan = Plan::new().listeners(NAMESPACES);
    let plan = usual.iter().chain(settings).fold(plan, |plan, setting| plan.set(setting));
    plan.start()
}

/// Waits until a node is linked.
pub(crate) fn linked(node: &Server) {
    is(node, "up");
}

/// Waits until a node says so of its link.
pub(crate) fn is(node: &Server, state: &str) {
    let words = format!("\"redis\":\"{state}\"");
    eventually(&format!("the link is {state}"), || node.control("/health").text().contains(&words));
}
