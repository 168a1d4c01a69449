//! Who is linked, and what then has to wait until the linked module is there.

use super::NotLinked;
use super::layout::{Import, Item, Layout, Origin, needs};
use std::collections::HashSet;
use wasmparser::ExternalKind;

/// Who is linked.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// Instances that become one, in their order.
    pub(super) members: Vec<u32>,
    /// Other instances that need one of them, directly or not.
    later_instances: HashSet<u32>,
    /// Functions of the host's that do: they use the memory of one.
    later_functions: HashSet<u32>,
    modules: HashSet<*const u8>,
    has_memory: bool,
    /// Tables and memories that somebody who comes later may have written: a member that writes them too would then
    /// write first.
    taken: HashSet<Origin<'a>>,
    is_closed: bool,
}

impl<'a> Plan<'a> {
    /// As many as can be.
    pub(super) fn of(layout: &Layout<'a>) -> Result<Self, NotLinked> {
        let mut plan = Self::default();
        for item in &layout.items {
            match item {
                Item::Lower { function, index } => {
                    for (kind, needed) in needs(function) {
                        if plan.needs_member(layout.origin(kind, needed)?) {
                            plan.later_functions.insert(*index);
                        }
                    }
                }
                // What is lifted keeps its place in the file, and so must whatever it needs.
                Item::Lift(_) => plan.is_closed |= !plan.members.is_empty(),
                Item::Instantiate(instance) => plan.instantiate(layout, *instance)?,
                Item::Section { .. } | Item::Alias(_) => {}
            }
        }
        if plan.members.len() < 2 { Err(NotLinked::OneModule) } else { Ok(plan) }
    }

    fn instantiate(&mut self, layout: &Layout<'a>, instance: u32) -> Result<(), NotLinked> {
        let imports = layout.imports_of(instance)?;
        let module = layout.module_of(instance)?;
        let mut written = module.written.iter().filter_map(|(kind, index)| imported(&imports, *kind, *index));
        let may_join = !self.is_closed
            && !module.has_start
            && !self.modules.contains(&module.bytes.as_ptr())
            && !(self.has_memory && module.counts.memories > 0)
            && module.counts.memories < 2
            && imports.iter().all(|(_, origin)| !self.is_later(*origin))
            && !written.any(|origin| self.taken.contains(&origin));
        if may_join {
            self.members.push(instance);
            self.modules.insert(module.bytes.as_ptr());
            self.has_memory |= module.counts.memories > 0;
        } else if imports.iter().any(|(_, origin)| self.needs_member(*origin)) {
            self.later_instances.insert(instance);
            self.is_closed |= module.has_start;
            let writable = |kind| matches!(kind, ExternalKind::Table | ExternalKind::Memory);
            self.taken.extend(
                imports.iter().filter(|(import, _)| writable(import.kind())).map(|(_, origin)| *origin),
            );
        }
        Ok(())
    }

    /// Does this wait for the linked module?
    pub(super) fn waits(&self, item: &Item<'_>) -> bool {
        match item {
            Item::Lower { index, .. } => self.later_functions.contains(index),
            Item::Instantiate(instance) => self.later_instances.contains(instance),
            Item::Section { .. } | Item::Alias(_) | Item::Lift(_) => false,
        }
    }

    pub(super) fn is_member(&self, instance: u32) -> bool {
        self.members.contains(&instance)
    }

    fn is_later(&self, origin: Origin<'_>) -> bool {
        match origin {
            Origin::Export { instance, .. } => self.later_instances.contains(&instance),
            Origin::Lowered { function } => self.later_functions.contains(&function),
        }
    }

    /// Is it what a member exports?
    pub(super) fn is_from_member(&self, origin: Origin<'_>) -> bool {
        matches!(origin, Origin::Export { instance, .. } if self.is_member(instance))
    }

    fn needs_member(&self, origin: Origin<'_>) -> bool {
        self.is_from_member(origin) || self.is_later(origin)
    }
}

/// Where something with this index in a module comes from, if it is imported.
fn imported<'a>(imports: &[(Import<'a>, Origin<'a>)], kind: ExternalKind, index: u32) -> Option<Origin<'a>> {
    let of_the_kind = imports.iter().filter(|(import, _)| import.kind() == kind);
    of_the_kind.map(|(_, origin)| *origin).nth(index as usize)
}
