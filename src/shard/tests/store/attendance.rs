//! Who is in a room, as nodes say it.

use super::Store;
use crate::room::attendance::{Attendance, AttendanceAsk, Attendant, Mark, Said, Step};
use crate::room::broker::{FromBroker, News};
use crate::room::name::RoomKey;

impl Store {
    /// What is answered, if anything is.
    pub(super) fn attend(
        &mut self,
        node: u64,
        key: &RoomKey,
        ask: AttendanceAsk,
    ) -> Option<FromBroker> {
        let room = key.clone();
        let all = &mut self.rooms.entry(key.clone()).or_default().attendance;
        let server = self.server.to_string();
        let began_on = all.mark.life.split_once('.').map(|(server, _)| server);
        if matches!(ask, AttendanceAsk::Look(_)) && began_on.is_some_and(|it| it != server) {
            self.epochs += 1;
            all.mark.life = format!("{server}.{}", self.epochs).into();
            all.former = all.anonymous.iter().map(|(node, _)| *node).collect();
        }
        match ask {
            AttendanceAsk::Look(mark) if mark == all.mark => {
                return Some(FromBroker::Looked { room, outcome: Ok(None) });
            }
            AttendanceAsk::Look(_) => {
                let outcome = Ok(Some(Box::new(all.clone())));
                return Some(FromBroker::Looked { room, outcome });
            }
            AttendanceAsk::Say { anonymous, users } => {
                all.anonymous.retain(|(other, _)| *other != node);
                all.anonymous.push((node, anonymous));
                all.former.retain(|other| *other != node);
                users.iter().for_each(|said| take_in(&mut all.users, node, said));
                let outcome = Ok(self.tell_step(key, node, Some((anonymous, users))));
                return Some(FromBroker::Said { room, outcome });
            }
            AttendanceAsk::Forget { node, life } => {
                let holds =
                    life.is_some_and(|it| it == all.mark.life && !all.former.contains(&node));
                if !holds && all.anonymous.iter().any(|(other, _)| *other == node) {
                    all.former.retain(|other| *other != node);
                    all.anonymous.retain(|(other, _)| *other != node);
                    all.users.iter_mut().for_each(|it| it.nodes.retain(|it| it.0 != node));
                    all.users.retain(|it| !it.nodes.is_empty());
                    self.forgotten += 1;
                    self.tell_step(key, node, None);
                }
            }
        }
        None
    }

    fn tell_step(&mut self, key: &RoomKey, node: u64, said: Option<(u32, Vec<Said>)>) -> Mark {
        let all = &mut self.rooms.get_mut(key).expect("it is there").attendance;
        if all.mark.life.is_empty() {
            self.epochs += 1;
            all.mark.life = format!("{}.{}", self.server, self.epochs).into();
        }
        all.mark.number += 1;
        let mark = all.mark.clone();
        let step = Step { mark: mark.clone(), node, said };
        self.told.push((key.clone(), News::Attendance(step)));
        mark
    }

    /// Who is in a room, with the connections that all nodes have said of them.
    pub(in crate::shard::tests) fn attendance(&self, key: &RoomKey) -> Attendance {
        self.rooms.get(key).map(|room| room.attendance.clone()).unwrap_or_default()
    }
}

fn take_in(users: &mut Vec<Attendant>, node: u64, said: &Said) {
    let at = users.iter().position(|it| it.user == said.user).unwrap_or_else(|| {
        users.push(Attendant { user: said.user.clone(), nodes: Vec::new(), info: None });
        users.len() - 1
    });
    let user = &mut users[at];
    user.nodes.retain(|(other, _)| *other != node);
    user.nodes.extend(said.connections.map(|count| (node, count)));
    if said.has_said {
        user.info.clone_from(&said.info);
    }
    if user.nodes.is_empty() {
        users.remove(at);
    }
}
