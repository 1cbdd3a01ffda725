//! What both Rust peers need: a listener like ours, and the list of those who hear a broadcast.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const BACKLOG: u32 = 4_096;

/// Everyone on /broadcast. One thread has it, so nothing is locked.
pub struct Everyone<M> {
    members: RefCell<HashMap<usize, UnboundedSender<M>>>,
    next: RefCell<usize>,
}

impl<M: Clone> Everyone<M> {
    /// Nobody yet.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { members: RefCell::default(), next: RefCell::default() })
    }

    /// A new member: its number, and what it is to be sent.
    pub fn enter(&self) -> (usize, UnboundedReceiver<M>) {
        let (sender, receiver) = unbounded_channel();
        let number = self.next.replace_with(|next| *next + 1);
        self.members.borrow_mut().insert(number, sender);
        (number, receiver)
    }

    /// Forgets a member.
    pub fn leave(&self, number: usize) {
        self.members.borrow_mut().remove(&number);
    }

    /// Has it sent to all.
    pub fn tell(&self, message: &M) {
        for member in self.members.borrow().values() {
            // Who is about to leave hears no more.
            let _ = member.send(message.clone());
        }
    }
}

/// Serves the port of the first argument on this thread, one local task a connection.
pub fn serve<F: Future<Output = ()> + 'static>(
    connection: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("the port is missing"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = listen(port)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(connection(stream));
        }
    })
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(BACKLOG)
}
