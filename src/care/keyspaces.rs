//! Which keyspaces a damaged store had, of what its sound pieces say.
//!
//! Its records may be lost that create a keyspace, which then has no name; or that drop one, which is back then, unless something
//! younger says that it is gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::KeyspaceId;
use crate::lsn::Lsn;
use crate::wal::Lost;

/// What is known of the keyspaces but the default one.
#[derive(Debug, Default)]
pub(super) struct Keyspaces {
    /// When they were created, and their names.
    named: BTreeMap<KeyspaceId, (Lsn, String)>,
    /// Those that are gone.
    dropped: BTreeSet<KeyspaceId>,
    /// The first and the last LSN that is known to have been in each, but for its creation.
    touched: BTreeMap<KeyspaceId, (Lsn, Lsn)>,
    /// Those whose creation is lost, dropped or not, in the order of their numbers; and the highest LSN at which something is
    /// first known of that one or a younger one.
    unnamed: Vec<(KeyspaceId, Lsn)>,
}

impl Keyspaces {
    pub(super) fn create(&mut self, id: KeyspaceId, created: Lsn, name: &str) {
        if name.is_empty() {
            // A checkpoint's word for one that is gone.
            return self.drop(id);
        }
        self.named.insert(id, (created, name.to_owned()));
    }

    pub(super) fn drop(&mut self, id: KeyspaceId) {
        self.dropped.insert(id);
    }

    /// Something was done in a keyspace, or to it.
    pub(super) fn touch(&mut self, id: KeyspaceId, lsn: Lsn) {
        let (first, last) = self.touched.entry(id).or_insert((lsn, lsn));
        (*first, *last) = (lsn.min(*first), lsn.max(*last));
    }

    /// Takes away what is known to be gone: also of two keyspaces with one name the older one, because the younger one could
    /// only be created when that was dropped. To be called once, when all is known.
    pub(super) fn forget_dropped(&mut self) {
        let mut latest = Lsn::ZERO;
        for (id, (first, _)) in self.touched.iter().rev().filter(|(id, _)| !self.named.contains_key(id)) {
            latest = latest.max(*first);
            self.unnamed.push((*id, latest));
        }
        self.unnamed.reverse();
        let mut youngest: BTreeMap<&str, KeyspaceId> = BTreeMap::new();
        for (id, (_, name)) in &self.named {
            // Numbers are given out in order.
            self.dropped.extend(youngest.insert(name, *id));
        }
        self.named.retain(|id, _| !self.dropped.contains(id));
    }

    pub(super) fn is_dropped(&self, id: KeyspaceId) -> bool {
        self.dropped.contains(&id)
    }

    /// Number, creation and name of those that have one.
    pub(super) fn named(&self) -> impl Iterator<Item = (KeyspaceId, Lsn, &str)> {
        self.named.iter().map(|(id, (created, name))| (*id, *created, &**name))
    }

    /// Names for those that have none.
    pub(super) fn names_for<'a>(
        &self,
        ids: impl Iterator<Item = &'a KeyspaceId>,
    ) -> Vec<(KeyspaceId, String)> {
        let taken: BTreeSet<&str> = self.named().map(|(_, _, name)| name).collect();
        let free = |id: &KeyspaceId| {
            let mut name = format!("recovered-{}", id.0);
            while taken.contains(&*name) {
                name += &format!("-{}", id.0);
            }
            (*id, name)
        };
        ids.filter(|id| !self.named.contains_key(id)).map(free).collect()
    }

    /// Those of which nobody knows whether they had their name to the end: behind the last that is known of them, and before
    /// the first that is known of a younger one without a name, two records are lost. They may have dropped the one and given
    /// its name to the other.
    pub(super) fn doubtful(&self, lost: &Lost) -> impl Iterator<Item = (KeyspaceId, &str)> {
        let is_doubtful = move |id: KeyspaceId, created: Lsn| {
            let alive = self.touched.get(&id).map_or(created, |(_, last)| created.max(*last));
            let younger = self.unnamed.partition_point(|(unnamed, _)| *unnamed <= id);
            self.unnamed.get(younger).is_some_and(|(_, first)| lost.between(alive, *first) >= 2)
        };
        self.named()
            .filter(move |(id, created, _)| is_doubtful(*id, *created))
            .map(|(id, _, name)| (id, name))
    }
}
