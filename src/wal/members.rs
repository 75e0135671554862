//! A group's members: the leader first, then those who followed it, in their order.

use std::iter;
use std::sync::Arc;

/// What the members of a group have handed in. The leader's stands alone, so that a thread that writes alone needs no
/// allocation; a follower shares its own, because it works on it too.
#[derive(Debug)]
pub(crate) struct Members<T> {
    leader: T,
    followers: Vec<Arc<T>>,
}

impl<T> Members<T> {
    pub(super) fn new(leader: T, followers: Vec<Arc<T>>) -> Members<T> {
        Members { leader, followers }
    }

    pub(crate) fn leader(&self) -> &T {
        &self.leader
    }

    /// The leader alone.
    pub(crate) fn is_one(&self) -> bool {
        self.followers.is_empty()
    }

    pub(crate) fn followers(&self) -> impl Iterator<Item = &T> {
        self.followers.iter().map(|follower| &**follower)
    }

    /// The leader's and all others.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        iter::once(&self.leader).chain(self.followers())
    }
}
