//! Who is linked, and what then has to wait until the linked module is there.

use super::NotLinked;
use super::core_module::Place;
use super::layout::{Item, Layout, Origin, needs};
use std::collections::HashSet;
use wasm_encoder::ComponentSectionId;

/// Who is linked.
#[derive(Default)]
pub(super) struct Plan {
    /// Instances that become one, in their order.
    pub(super) members: Vec<u32>,
    /// Other instances that come to life after them: they need one of them, directly or not, or would tell the difference.
    later_instances: HashSet<u32>,
    /// Functions of the host's that use the memory of one, or of such another.
    later_functions: HashSet<u32>,
    /// What those others write when they come to life: a member that writes it too would do so first.
    taken: HashSet<(u32, Place)>,
    /// The modules of the members: of a module's instances one is linked.
    modules: HashSet<*const u8>,
    /// The memory that the members share: a module has no more than one, as long as multi-memory is off.
    memory: Option<(u32, Place)>,
    /// Something has run that could tell whether those who come next were there: nobody joins any more.
    is_closed: bool,
}

impl Plan {
    /// As many as can be.
    pub(super) fn of(layout: &Layout<'_>) -> Result<Self, NotLinked> {
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
                // A component in it comes to life, which may call the host.
                Item::Section { id, .. } if *id == ComponentSectionId::Instance as u8 => {
                    plan.is_closed |= !plan.members.is_empty();
                }
                Item::Instantiate(instance) => plan.instantiate(layout, *instance)?,
                Item::Section { .. } | Item::Alias(_) => {}
            }
        }
        if plan.members.len() < 2 { Err(NotLinked::OneModule) } else { Ok(plan) }
    }

    fn instantiate(&mut self, layout: &Layout<'_>, instance: u32) -> Result<(), NotLinked> {
        let imports = layout.imports_of(instance)?;
        let module = layout.module_of(instance)?;
        let home = |place: &Place| layout.home(instance, *place);
        let written = module.written.iter().map(home).collect::<Result<Vec<_>, _>>()?;
        let memories = layout.memories_of(instance)?;
        let memory = self.memory.or(memories.first().copied());
        let may_join = !self.is_closed
            && !module.has_start
            && !self.modules.contains(&module.bytes.as_ptr())
            && memories.iter().all(|place| Some(*place) == memory)
            && imports.iter().all(|(_, origin)| !self.is_later(*origin))
            && !written.iter().any(|place| self.taken.contains(place));
        let is_seen = module.has_start || !written.is_empty();
        if may_join {
            self.members.push(instance);
            self.modules.insert(module.bytes.as_ptr());
            self.memory = memory;
        } else if imports.iter().any(|(_, origin)| self.needs_member(*origin))
            || is_seen && !self.members.is_empty()
        {
            self.later_instances.insert(instance);
            self.is_closed |= module.has_start;
            self.taken.extend(written);
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
