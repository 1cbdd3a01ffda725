//! What clients do: publishers, who stay and never tire, and members, who come and go.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::client::Client;
use crate::history::{History, Message, Record};
use crate::run::Stage;

/// Rooms that a member is in at most.
const ROOMS_MAX: usize = 4;

/// Publishes to all rooms in turn, and hears them all.
pub(crate) async fn publish(mut client: Client, publisher: usize, every: Duration) -> History {
    client.connect().await;
    for room in 0..client.run.rooms.len() {
        client.join(room, false).await;
    }
    let mut number = 0;
    let mut next = Instant::now() + every;
    while client.run.stage() == Stage::Acting {
        tokio::select! {
            ended = client.receive() => if ended { client.connect().await },
            () = sleep_until(next) => {
                next += every;
                if client.run.is_paused.get() {
                    continue;
                }
                let room = (publisher + usize::try_from(number).unwrap()) % client.run.rooms.len();
                number += 1;
                let most = client.run.rooms[room].padding;
                let padding = most / 2 + client.random.below(most / 2 + 1);
                client.publish(room, Message { publisher, number }, padding).await;
            }
        }
    }
    while !client.is_answered() {
        if client.receive().await {
            client.connect().await;
        }
    }
    client.run.publisher_done();
    settle(client).await
}

/// Comes, goes, stalls, is cut, and comes back.
pub(crate) async fn live(mut client: Client) -> History {
    client.connect().await;
    for _ in 0..2 {
        join_some(&mut client).await;
    }
    let mut next = Instant::now() + pause(&mut client);
    while client.run.stage() == Stage::Acting {
        tokio::select! {
            ended = client.receive() => if ended { come_back(&mut client).await },
            () = sleep_until(next) => {
                act(&mut client).await;
                next = Instant::now() + pause(&mut client);
            }
        }
    }
    settle(client).await
}

fn pause(client: &mut Client) -> Duration {
    let most = client.run.pause_ms;
    client.random.ms(most / 4, most)
}

async fn act(client: &mut Client) {
    match client.random.below(100) {
        0..35 => join_some(client).await,
        35..55 => {
            let joined: Vec<_> = client.rooms.keys().copied().collect();
            let Some(room) = joined.get(client.random.below(joined.len())).copied() else { return };
            if client.is_free(room) {
                client.leave(room).await;
            }
        }
        55..75 => {
            for room in client.rooms.keys().copied().collect::<Vec<_>>() {
                if client.is_free(room) {
                    client.acknowledge(room).await;
                }
            }
        }
        75..82 => {
            client.cut();
            come_back(client).await;
        }
        82..86 => {
            client.close().await;
            come_back(client).await;
        }
        86..90 => {
            client.cut();
            client.drop_session();
            come_back(client).await;
        }
        _ if client.is_slow => sleep(client.random.ms(2_000, 5_000)).await,
        _ => {}
    }
}

async fn join_some(client: &mut Client) {
    // Those who may be slow, and nobody else but publishers, are where much is said.
    let loud = client.is_slow && client.random.percent(70);
    let rooms = client.run.rooms.iter().enumerate().filter(|(_, room)| room.is_loud == loud);
    let rooms: Vec<_> = rooms.map(|(room, _)| room).collect();
    let room = rooms[client.random.below(rooms.len())];
    let is_new = !client.rooms.contains_key(&room) && client.is_free(room);
    if is_new && client.rooms.len() < ROOMS_MAX {
        let goes_on = client.random.percent(70);
        client.join(room, goes_on).await;
    }
}

async fn come_back(client: &mut Client) {
    let away = client.random.ms(0, 1_500);
    sleep(away).await;
    client.connect().await;
}

/// Receives what is still on its way, then stays until the end.
async fn settle(mut client: Client) -> History {
    let until = Instant::now() + client.run.patience;
    while client.run.stage() != Stage::Settling {
        receive_within(&mut client, Instant::now() + Duration::from_millis(100)).await;
    }
    let mut settled = None;
    while client.run.stage() != Stage::Over {
        // Others may hear of more after it has all that was known.
        let settles = is_even(&client) || Instant::now() >= until;
        match settled.take() {
            None if settles => {
                let rooms: Vec<_> = client.rooms.keys().copied().collect();
                client.run.settled(&rooms, true);
                settled = Some(rooms);
            }
            Some(rooms) if !settles => client.run.settled(&rooms, false),
            as_before => settled = as_before,
        }
        receive_within(&mut client, Instant::now() + Duration::from_millis(100)).await;
    }
    client.note(Record::Settled);
    client.history
}

/// Whether it has all there is, or was told that it does not.
fn is_even(client: &Client) -> bool {
    let all =
        client.rooms.iter().all(|(&room, it)| (it.epoch, it.position) >= client.run.head(room));
    client.is_answered() && client.is_connected() && all
}

async fn receive_within(client: &mut Client, until: Instant) {
    if let Ok(true) = timeout_at(until, client.receive()).await {
        client.connect().await;
    }
}
