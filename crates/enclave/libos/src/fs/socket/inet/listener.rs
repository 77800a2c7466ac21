//! What waits at a socket that listens: connections for accept(2), and wishes for which there is no room yet.

use super::stream::Stream;
use crate::fs::outside;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::net::SocketAddr;

/// The queues of a listening socket.
pub(super) struct Listener {
    /// Connections, oldest first.
    pub(super) backlog: VecDeque<Arc<Stream>>,
    /// Most of them.
    pub(super) limit: usize,
    /// Who waits for room, oldest first.
    pub(super) wishes: VecDeque<Wish>,
    /// The host's side of it, where the manifest has a rule.
    pub(super) outside: Option<Arc<outside::Listener>>,
}

/// A socket that wants to be connected.
pub(super) struct Wish {
    pub(super) client: Weak<Stream>,
    /// Address that it comes from, and that it goes to.
    pub(super) local: SocketAddr,
    pub(super) target: SocketAddr,
}

impl Listener {
    pub(super) fn new(limit: usize, outside: Option<outside::Listener>) -> Self {
        let outside = outside.map(Arc::new);
        Self { backlog: VecDeque::new(), limit, wishes: VecDeque::new(), outside }
    }

    pub(super) fn is_full(&self) -> bool {
        self.backlog.len() >= self.limit
    }

    pub(super) fn push(&mut self, connection: Arc<Stream>) {
        self.backlog.push_back(connection);
    }

    /// Keeps a wish for later. Who is gone wishes nothing: there are never more than sockets.
    pub(super) fn keep(&mut self, wish: Wish) {
        if self.wishes.len() == self.wishes.capacity() {
            self.wishes.retain(|one| one.client.strong_count() > 0);
        }
        self.wishes.push_back(wish);
    }

    /// The wish that there is room for.
    pub(super) fn next_wish(&mut self) -> Option<Wish> {
        if self.is_full() { None } else { self.wishes.pop_front() }
    }
}
