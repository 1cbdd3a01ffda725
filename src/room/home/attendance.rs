//! Who is in the room on other nodes, and what these are told of who is here.

use std::sync::Arc;

use crate::clock::Moment;
use crate::room::attendance::{Attendance, Said, Step};
use crate::room::presence::Unsaid;

use super::HomeRoom;

impl HomeRoom {
    /// From now on other nodes are told who is here.
    pub fn share_presence(&mut self) {
        self.presence.share();
    }

    /// Whether other nodes are to be told something now; in a large room it is collected for a while.
    #[must_use]
    pub fn has_unsaid(&self) -> bool {
        let differs = self.anonymous != self.anonymous_said || self.presence.has_unsaid();
        differs && self.presence_due.is_none()
    }

    /// What other nodes are to be told, of at most `limit` users: how many connections of nobody are
    /// here, and who came, went or said something. True: all that the broker knows is to be asked for
    /// behind it.
    pub fn take_unsaid(&mut self, limit: usize) -> (u32, Vec<Said>, bool) {
        self.anonymous_said = self.anonymous;
        let (taken, is_passed_over) = self.presence.take_unsaid(limit);
        let said = |it: Unsaid<_>| {
            let Unsaid { user, connections, has_said, info } = it;
            Said { user, connections, has_said, info }
        };
        let anonymous = u32::try_from(self.anonymous).unwrap_or(u32::MAX);
        (anonymous, taken.into_iter().map(said).collect(), is_passed_over)
    }

    /// Whether other nodes have heard it is not known.
    pub fn say_again(&mut self, said: &[Said]) {
        self.anonymous_said = u64::MAX;
        for Said { user, has_said, connections, .. } in said {
            self.presence.say_again(user, *has_said, connections.is_none());
        }
    }

    /// Whether a node has said something of who is there.
    #[must_use]
    pub fn has_heard_of(&self, node: u64) -> bool {
        self.anonymous_elsewhere.contains_key(&node)
    }

    /// Whether somebody is elsewhere by this step of another node who had not gone from here yet for the
    /// broker (`is_ahead`: what was said of them comes behind the step): then it has kept what they said,
    /// which is forgotten here.
    #[must_use]
    pub fn has_forgotten(&self, step: &Step, is_ahead: impl Fn(&str) -> bool) -> bool {
        let comes =
            step.said.iter().flat_map(|(_, said)| said).filter(|it| it.connections.is_some());
        let mut gone = comes.filter(|it| self.presence.get(&it.user).is_none());
        gone.any(|it| is_ahead(&it.user) || self.presence.is_unsaid(&it.user))
    }

    /// A node has said something, this one (`own`) included.
    pub fn follow_step(&mut self, step: Step, own: u64, now: Moment) {
        let node = step.node;
        match step.said {
            Some((anonymous, said)) => {
                if node != own {
                    self.anonymous_elsewhere.insert(node, anonymous);
                }
                for Said { user, connections, has_said, info } in said {
                    if node != own {
                        self.hear_of(node, &user, connections, now);
                    }
                    if has_said {
                        // The last word is that which came last to the broker.
                        self.presence.hear_info(&user, info);
                    }
                }
            }
            None if node == own => {
                self.anonymous_said = u64::MAX;
                self.presence.say_all_again();
            }
            None => {
                self.anonymous_elsewhere.remove(&node);
                self.presence.forget_node(node);
            }
        }
        self.plan_presence(now);
    }

    /// A node says of a user whether they are there.
    fn hear_of(&mut self, node: u64, user: &Arc<str>, connections: Option<u32>, now: Moment) {
        let was_there = self.presence.get(user).is_some();
        self.presence.hear(node, user, connections);
        let is_there = self.presence.get(user).is_some();
        if was_there != is_there {
            self.sent_out.hear(user, is_there, now);
        }
    }

    /// Takes over what all nodes have said; what this one (`own`) has to add is said next. `is_whole`:
    /// nothing else holds.
    pub fn take_attendance(
        &mut self,
        attendance: Attendance,
        (own, is_whole): (u64, bool),
        now: Moment,
    ) {
        self.anonymous_said = u64::MAX;
        if is_whole {
            self.anonymous_elsewhere.clear();
        }
        for (node, count) in attendance.anonymous {
            if node == own {
                if !attendance.former.contains(&own) {
                    self.anonymous_said = count.into();
                }
            } else {
                self.anonymous_elsewhere.insert(node, count);
            }
        }
        for there in attendance.users.iter().filter(|it| self.presence.get(&it.user).is_none()) {
            let is_elsewhere = there.nodes.iter().any(|(node, _)| *node != own);
            if is_elsewhere {
                self.sent_out.hear(&there.user, true, now);
            }
        }
        let all = attendance.users.into_iter().map(|it| (it.user, it.nodes, it.info));
        self.presence.take_over(all.collect(), own, is_whole);
        self.plan_presence(now);
    }
}
