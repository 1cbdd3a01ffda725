//! Who is in a room on other nodes, and what these are told of who is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Presence, Present, Told};

/// What other nodes are told of a user.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsaid<I> {
    /// Who.
    pub user: Arc<str>,
    /// Connections here; none: they are not here.
    pub connections: Option<u32>,
    /// What they say about themselves is new.
    pub has_said: bool,
    /// What they say about themselves.
    pub info: Option<I>,
}

/// A user on all nodes: who, where with how many connections, and what they say of themselves.
pub type Everywhere<I> = (Arc<str>, Vec<(u64, u32)>, Option<I>);

impl<I: Clone + PartialEq> Presence<I> {
    /// From now on other nodes are told who is here.
    pub fn share(&mut self) {
        self.unsaid.get_or_insert_default();
    }

    /// Whether other nodes are told who is here.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.unsaid.is_some()
    }

    /// Whether there is something to tell other nodes.
    #[must_use]
    pub fn has_unsaid(&self) -> bool {
        self.unsaid.as_ref().is_some_and(|unsaid| !unsaid.is_empty())
    }

    /// What other nodes are to be told now, of at most `limit` users; and whether somebody is among them
    /// who is elsewhere, and of what they say only the broker knows: something new was passed over here,
    /// for what they said last and nobody is told, since they have gone.
    pub fn take_unsaid(&mut self, limit: usize) -> (Vec<Unsaid<I>>, bool) {
        let (mut taken, mut is_passed_over) = (Vec::new(), false);
        while taken.len() < limit {
            let Some((user, has_said)) = self.unsaid.as_mut().and_then(BTreeMap::pop_first) else {
                break;
            };
            let present = self.users.get(&user);
            let connections = present.filter(|it| it.is_here()).map(|it| it.connections);
            is_passed_over |= has_said && connections.is_none() && present.is_some();
            let has_said = has_said && connections.is_some();
            let info = present.filter(|_| has_said).and_then(|present| present.info.clone());
            taken.push(Unsaid { user, connections, has_said, info });
        }
        (taken, is_passed_over)
    }

    /// Whether other nodes have heard what they were told of a user is not known: they are told again;
    /// of who had gone (`is_gone`) and is back, also what they say about themselves by now.
    pub fn say_again(&mut self, user: &Arc<str>, has_said: bool, is_gone: bool) {
        let is_back = is_gone && self.users.get(user).is_some_and(Present::is_here);
        self.mark_unsaid(user, has_said || is_back);
    }

    /// Other nodes know nothing of who is here.
    pub fn say_all_again(&mut self) {
        let here: Vec<_> = self.users.iter().filter(|(_, present)| present.is_here()).collect();
        let here: Vec<_> =
            here.into_iter().map(|(user, it)| (user.clone(), it.info.is_some())).collect();
        for (user, has_said) in here {
            self.mark_unsaid(&user, has_said);
        }
    }

    /// Another node says with how many connections a user is there; none: not any more.
    pub fn hear(&mut self, node: u64, user: &Arc<str>, connections: Option<u32>) {
        let Some(present) = self.users.get_mut(user) else {
            if let Some(count) = connections {
                self.note(user, Told::Absent);
                let present = Present { elsewhere: vec![(node, count)], ..Present::absent() };
                self.users.insert(Arc::clone(user), present);
            }
            return;
        };
        present.elsewhere.retain(|(other, _)| *other != node);
        present.elsewhere.extend(connections.map(|count| (node, count)));
        if !present.elsewhere.is_empty() {
            return;
        }
        if !present.is_here() {
            self.remove(user);
        } else if connections.is_none() && present.info.is_some() {
            // If nothing of here was heard yet, others take it that they have left, and said nothing.
            self.mark_unsaid(user, true);
        }
    }

    /// What a user has said about themselves, on whichever node. What is to be said from here comes
    /// after it, and stays.
    pub fn hear_info(&mut self, user: &str, info: Option<I>) {
        let is_unsaid = self.unsaid.as_ref().and_then(|unsaid| unsaid.get(user)) == Some(&true);
        let Some(present) = self.users.get_mut(user).filter(|_| !is_unsaid) else { return };
        if present.info != info {
            present.info = info;
            self.note_info(user);
        }
    }

    /// Nothing holds of what another node has said.
    pub fn forget_node(&mut self, node: u64) {
        let is_there = |present: &Present<I>| present.elsewhere.iter().any(|(it, _)| *it == node);
        let there = self.users.iter().filter(|(_, present)| is_there(present));
        let there: Vec<_> = there.map(|(user, _)| Arc::clone(user)).collect();
        for user in there {
            self.hear(node, &user, None);
        }
    }

    /// All that all nodes say, this one (`own`) as it was heard elsewhere: what differs from how it
    /// is here, is said again. `is_whole`: what nodes have said before and is not there, does not hold
    /// any more.
    pub fn take_over(&mut self, all: Vec<Everywhere<I>>, own: u64, is_whole: bool) {
        let mut heard: BTreeMap<_, _> =
            all.into_iter().map(|(user, nodes, info)| (user, (nodes, info))).collect();
        let known: Vec<_> = self.users.keys().cloned().collect();
        for user in known {
            let (nodes, info) = heard.remove(&user).unwrap_or_default();
            self.agree(&user, &nodes, info, (own, is_whole));
        }
        for (user, (nodes, info)) in heard {
            self.agree(&user, &nodes, info, (own, is_whole));
        }
    }

    fn agree(
        &mut self,
        user: &Arc<str>,
        nodes: &[(u64, u32)],
        info: Option<I>,
        (own, is_whole): (u64, bool),
    ) {
        let here = self.users.get(user).filter(|it| it.is_here()).map(|it| it.connections);
        let heard = nodes.iter().find(|(node, _)| *node == own).map(|(_, count)| *count);
        let before = self.users.get(user).map(|it| it.elsewhere.clone()).unwrap_or_default();
        for (node, count) in nodes.iter().filter(|(node, _)| *node != own) {
            self.hear(*node, user, Some(*count));
        }
        for (node, _) in before.into_iter().filter(|_| is_whole) {
            if !nodes.iter().any(|(other, _)| *other == node) {
                self.hear(node, user, None);
            }
        }
        if here != heard {
            self.mark_unsaid(user, false);
        }
        let is_here = self.users.get(user).is_some_and(Present::is_here);
        if info.is_some() || (is_whole && !is_here) {
            self.hear_info(user, info);
        } else if is_here && self.users.get(user).is_some_and(|it| it.info.is_some()) {
            self.mark_unsaid(user, true);
        }
    }
}
