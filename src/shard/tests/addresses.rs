//! Bans of addresses: whom they are for, and whom they are not.

use std::sync::Arc;

use serde_json::json;

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::moderation::Keeper;
use super::store;
use crate::config::Config;

const HOME: [u8; 4] = [10, 0, 0, 1];

/// A user's connection from the address that they all share.
fn from_home(cluster: &mut Cluster, core: u16, user: &str) -> Address {
    let at = cluster.open_as(core, user, |it| it.address = Some(HOME.into()));
    assert_eq!(cluster.read(at)[0]["type"], "welcome");
    at
}

/// A command about a room, and its answer: `ok`, or why not.
fn act(cluster: &mut Cluster, at: Address, kind: &str, room: &str, more: &str) -> String {
    let answer = cluster.ask(at, &format!(r#"{{"type":"{kind}","id":1,"room":"{room}"{more}}}"#));
    answer["code"].as_str().unwrap_or("ok").to_owned()
}

/// Why a connection has left the room, if it has since it was last asked.
fn left(cluster: &mut Cluster, at: Address) -> Option<String> {
    let told = cluster.read(at);
    let left = told.iter().find(|it| it["type"] == "left")?;
    Some(left["reason"].as_str().unwrap().to_owned())
}

const BAN: &str = r#","ip":"10.0.0.1""#;

#[test]
fn no_ban_of_an_address_is_for_who_stands_where_the_one_who_banned_it_does() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let moderator = cluster.user(0, "mod");
        let all = ["owner", "admin", "peer", "member", "guest"]
            .map(|user| (user, from_home(&mut cluster, cores - 1, user)));
        let owner = all[0].1;
        let nobody = cluster.open_with(0, |it| it.address = Some(HOME.into()));
        cluster.read(nobody);
        assert_eq!(act(&mut cluster, owner, "room.create", "r", ""), "ok");
        for (user, role) in
            [("mod", "moderator"), ("admin", "admin"), ("peer", "moderator"), ("member", "member")]
        {
            let give = format!(r#","user":"{user}","role":"{role}""#);
            assert_eq!(act(&mut cluster, owner, "room.role", "r", &give), "ok");
        }
        for at in all.iter().map(|(_, at)| *at).chain([nobody]) {
            assert_eq!(act(&mut cluster, at, "join", "r", ""), "ok");
        }
        assert_eq!(act(&mut cluster, moderator, "room.ban", "r", BAN), "ok");
        for (user, at) in all {
            let is_below = matches!(user, "member" | "guest");
            assert_eq!(left(&mut cluster, at).is_some(), is_below, "{user}");
            let joined = act(&mut cluster, at, "join", "r", "");
            assert_eq!(joined, if is_below { "banned" } else { "ok" }, "{user}");
        }
        assert_eq!(left(&mut cluster, nobody).as_deref(), Some("banned"));
        assert_eq!(act(&mut cluster, nobody, "join", "r", ""), "banned");
        assert_eq!(act(&mut cluster, owner, "room.update", "r", ""), "ok", "it is theirs still");
        // It holds for who stands above it no more.
        let lower = r#","user":"peer","role":"member""#;
        assert_eq!(act(&mut cluster, owner, "room.role", "r", lower), "ok");
        let peer = all[2].1;
        assert_eq!(left(&mut cluster, peer).as_deref(), Some("banned"));
        assert_eq!(act(&mut cluster, peer, "join", "r", ""), "banned");
        assert_eq!(act(&mut cluster, owner, "room.unban", "r", BAN), "ok");
        assert_eq!(act(&mut cluster, peer, "join", "r", ""), "ok");
    }
}

#[test]
fn a_ban_of_an_address_counts_as_where_it_was_made() {
    let inherits = r#","config":{"parent_inherit":true,"persistent":true}"#;
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let (top, below) =
            (from_home(&mut cluster, 0, "top"), from_home(&mut cluster, cores - 1, "below"));
        let (above, beside) = (cluster.user(0, "above"), cluster.user(cores - 1, "beside"));
        assert_eq!(act(&mut cluster, top, "room.create", "a", ""), "ok");
        assert_eq!(act(&mut cluster, below, "room.create", "a/b", inherits), "ok");
        for (by, room, user) in [(top, "a", "above"), (below, "a/b", "beside")] {
            let give = format!(r#","user":"{user}","role":"moderator""#);
            assert_eq!(act(&mut cluster, by, "room.role", room, &give), "ok");
        }
        for at in [top, below] {
            assert_eq!(act(&mut cluster, at, "join", "a/b", ""), "ok");
        }
        // Whoever owns the room above owns this one, too.
        assert_eq!(act(&mut cluster, beside, "room.ban", "a/b", BAN), "ok");
        assert_eq!([top, below].map(|at| left(&mut cluster, at)), [None, None]);
        assert_eq!(act(&mut cluster, beside, "room.unban", "a/b", BAN), "ok");
        // In the room above, whoever owns only this one is a guest, as for a ban of their name.
        assert_eq!(act(&mut cluster, above, "room.ban", "a", BAN), "ok");
        let banned = Some("banned".to_owned());
        assert_eq!([top, below].map(|at| left(&mut cluster, at)), [None, banned]);
    }
}

#[test]
fn a_ban_of_an_address_by_a_credential_is_for_everyone() {
    let mut cluster = Cluster::new(2, Config::default());
    let owner = from_home(&mut cluster, 0, "owner");
    let keeper = cluster.open_granted(1, "k", Arc::new(Keeper), |_| {});
    cluster.read(keeper);
    let persistent = r#","config":{"persistent":true}"#;
    assert_eq!(act(&mut cluster, owner, "room.create", "r", persistent), "ok");
    assert_eq!(act(&mut cluster, owner, "join", "r", ""), "ok");
    assert_eq!(act(&mut cluster, keeper, "room.ban", "r", BAN), "ok");
    assert_eq!(left(&mut cluster, owner).as_deref(), Some("banned"));
    assert_eq!(act(&mut cluster, owner, "join", "r", ""), "banned");
}

#[test]
fn other_nodes_know_whom_a_ban_of_an_address_is_for() {
    let nodes = [3, 4].map(|node| Cluster::of_node(2, store::config(), node));
    let mut fleet = Fleet::new(nodes, 0);
    fleet.restore_all();
    let open = |fleet: &mut Fleet, node: usize, user: &str| {
        let address = (user != "mod").then(|| HOME.into());
        let at = fleet.nodes[node].open_as(1, user, |it| it.address = address);
        fleet.carry();
        fleet.nodes[node].read(at);
        at
    };
    let act = |fleet: &mut Fleet, node: usize, at: Address, what: serde_json::Value| {
        let mut what = what;
        (what["id"], what["room"]) = (json!(1), json!("r"));
        fleet.nodes[node].send(at, &what.to_string());
        fleet.carry();
        let told = fleet.nodes[node].read(at);
        let answer = told.iter().find(|it| it["id"] == 1);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {what}: {told:?}"));
        answer["code"].as_str().unwrap_or("ok").to_owned()
    };
    let (owner, moderator) = (open(&mut fleet, 0, "owner"), open(&mut fleet, 0, "mod"));
    let create = json!({ "type": "room.create", "config": { "persistent": true } });
    assert_eq!(act(&mut fleet, 0, owner, create), "ok");
    let give = json!({ "type": "room.role", "user": "mod", "role": "moderator" });
    assert_eq!(act(&mut fleet, 0, owner, give), "ok");
    let [there, guest] = ["owner", "guest"].map(|user| open(&mut fleet, 1, user));
    for (node, at) in [(0, owner), (1, there), (1, guest)] {
        assert_eq!(act(&mut fleet, node, at, json!({ "type": "join" })), "ok");
    }
    let ban = json!({ "type": "room.ban", "ip": "10.0.0.1" });
    assert_eq!(act(&mut fleet, 0, moderator, ban), "ok");
    let told = [(0, owner), (1, there), (1, guest)]
        .map(|(node, at)| left(&mut fleet.nodes[node], at).is_some());
    assert_eq!(told, [false, false, true]);
    // A node that comes to know of the room only now knows it from what was written down.
    fleet.nodes.push(Cluster::of_node(2, store::config(), 5));
    fleet.links.push(store::Link::of(2));
    fleet.restore(2);
    let (again, stranger) = (open(&mut fleet, 2, "owner"), open(&mut fleet, 2, "stranger"));
    assert_eq!(act(&mut fleet, 2, again, json!({ "type": "join" })), "ok");
    assert_eq!(act(&mut fleet, 2, stranger, json!({ "type": "join" })), "banned");
}
