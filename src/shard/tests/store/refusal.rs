//! How a server refuses a command.

use crate::room::attendance::AttendanceAsk;
use crate::room::broker::{DirectAsk, DirectNews, Fault, FromBroker, Publish, ToBroker};

/// What is said to a command that fails so; none: nothing is said to it.
pub(super) fn refusal(message: &ToBroker, fault: Fault) -> Option<FromBroker> {
    Some(match message {
        ToBroker::Open { room, .. } => {
            FromBroker::Opened { room: room.clone(), outcome: Err(fault) }
        }
        ToBroker::Recall { room, .. } => {
            FromBroker::Recalled { room: room.clone(), outcome: Err(fault) }
        }
        ToBroker::Publish(Publish { ticket, .. }) => {
            FromBroker::Published { ticket: *ticket, outcome: Err(fault) }
        }
        ToBroker::Direct(DirectAsk::Send { ticket, .. }) => {
            FromBroker::Direct(DirectNews::Answered { ticket: *ticket, outcome: Err(fault) })
        }
        ToBroker::Attend { room, ask: AttendanceAsk::Look(_) } => {
            FromBroker::Looked { room: room.clone(), outcome: Err(fault) }
        }
        ToBroker::Attend { room, ask: AttendanceAsk::Forget { .. } } => {
            FromBroker::NotForgotten { room: room.clone() }
        }
        ToBroker::Attend { room, ask: AttendanceAsk::Say { .. } } => {
            FromBroker::Said { room: room.clone(), outcome: Err(fault) }
        }
        ToBroker::Move { room, motion } => {
            FromBroker::Voted { room: room.clone(), ticket: motion.ticket, outcome: Err(fault) }
        }
        _ => return None,
    })
}
