//! The search for one target through the delegations (5.6.7): depth-first, in the order in which each role lists its delegations.
//!
//! ```text
//! targets ─┬─▶ A ─┬─▶ C        visited: targets, A, C, D, B
//!          └─▶ B  └─▶ D        where D is terminating: targets, A, C, D
//! ```
//! A role is visited once, so that circles end, and a search visits [`MAX_DELEGATIONS`] roles at most.

use alloc::{borrow::ToOwned as _, collections::BTreeSet, string::String, vec::Vec};

use crate::{
    keys::RoleKeys,
    limits::MAX_DELEGATIONS,
    metadata::{Metadata, Targets},
    target::Target,
};

/// Where a search stands.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    path: String,
    /// Roles to visit, the next one last, with the keys by which the role that named them trusts them.
    to_visit: Vec<(String, RoleKeys)>,
    visited: BTreeSet<String>,
    found: Option<Target>,
}

impl Search {
    /// A search for `path` that has visited the top-level `targets`.
    pub(crate) fn new(path: &str, targets: &Metadata<Targets>) -> Self {
        let mut this = Self { path: path.to_owned(), to_visit: Vec::new(), visited: BTreeSet::new(), found: None };
        this.visit(targets);
        this
    }

    /// The role to load now and to [`visit`](Self::visit), with its keys. Nothing when the search is over.
    pub(crate) fn next(&self) -> Option<(&str, &RoleKeys)> {
        self.to_visit.last().map(|(role, keys)| (role.as_str(), keys))
    }

    pub(crate) fn found(&self) -> Option<&Target> {
        self.found.as_ref()
    }

    /// Looks into a verified role: the one of [`next`](Self::next).
    pub(crate) fn visit(&mut self, role: &Metadata<Targets>) {
        self.to_visit.pop();
        self.visited.insert(role.role.clone());
        if let Some(target) = role.body.target(&self.path) {
            self.found = Some(target.clone());
            self.to_visit.clear();
            return;
        }
        // 5.6.7.2: in the order of appearance, before those that wait already.
        let mut below = Vec::new();
        for delegation in role.body.delegations.iter().filter(|delegation| delegation.covers(&self.path)) {
            below.push((delegation.name.clone(), delegation.keys.clone()));
            // 5.6.7.2.1: nobody is asked after a terminating delegation.
            if delegation.terminating {
                self.to_visit.clear();
                break;
            }
        }
        self.to_visit.extend(below.into_iter().rev());
        // 5.6.7.1: no role twice, and not too many.
        if self.visited.len() > MAX_DELEGATIONS {
            self.to_visit.clear();
        }
        while self.to_visit.pop_if(|(role, _)| self.visited.contains(role)).is_some() {}
    }
}
