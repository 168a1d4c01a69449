//! Which instances are linked, and what must be instantiated after the linked module.

use super::NotLinked;
use super::core_module::Place;
use super::layout::{Definition, Item, Layout, needs};
use std::collections::HashSet;
use wasm_encoder::ComponentSectionId;

/// Which instances are linked, and which come after.
#[derive(Default)]
pub(super) struct Plan {
    /// Instances that become one, in their order.
    pub(super) members: Vec<u32>,
    /// Non-members that must be instantiated after the members, because they import from one
    /// (transitively) or could observe the order.
    later_instances: HashSet<u32>,
    /// Host functions that use the memory of a member or of a later instance.
    later_functions: HashSet<u32>,
    /// What the later instances write at instantiation. An instance that writes it as well cannot
    /// become a member.
    taken: HashSet<(u32, Place)>,
    /// The modules of the members: only one instance per module is linked.
    modules: HashSet<*const u8>,
    /// The memory that the members share: a module has no more than one, as long as multi-memory is
    /// off.
    memory: Option<(u32, Place)>,
    /// No more instances become members: something has run that could observe whether later ones
    /// exist.
    is_closed: bool,
}

impl Plan {
    /// Makes a plan with as many members as possible.
    pub(super) fn of(layout: &Layout<'_>) -> Result<Self, NotLinked> {
        let mut plan = Self::default();
        for item in &layout.items {
            match item {
                Item::Lower { function, index } => {
                    for (kind, needed) in needs(function) {
                        if plan.needs_member(layout.definition(kind, needed)?) {
                            plan.later_functions.insert(*index);
                        }
                    }
                }
                // A lifted function keeps its place in the file, and so does everything that it
                // needs.
                Item::Lift(_) => plan.is_closed |= !plan.members.is_empty(),
                // The section instantiates a component, which may call the host.
                Item::Section { id, .. } if *id == ComponentSectionId::Instance as u8 => {
                    plan.is_closed |= !plan.members.is_empty();
                }
                Item::Instantiate(instance) => plan.instantiate(layout, *instance)?,
                Item::Section { .. } | Item::Alias(_) => {}
            }
        }

        if plan.members.len() < 2 {
            Err(NotLinked::OneModule)
        } else {
            Ok(plan)
        }
    }

    fn instantiate(&mut self, layout: &Layout<'_>, instance: u32) -> Result<(), NotLinked> {
        let imports = layout.imports_of(instance)?;
        let module = layout.module_of(instance)?;
        let home = |place: &Place| layout.home(instance, *place);
        let written = module
            .written
            .iter()
            .map(home)
            .collect::<Result<Vec<_>, _>>()?;
        let memories = layout.memories_of(instance)?;
        let memory = self.memory.or(memories.first().copied());
        let may_join = !self.is_closed
            && !module.has_start
            && !self.modules.contains(&module.bytes.as_ptr())
            && memories.iter().all(|place| Some(*place) == memory)
            && imports
                .iter()
                .all(|(_, definition)| !self.is_later(*definition))
            && !written.iter().any(|place| self.taken.contains(place));
        let is_seen = module.has_start || !written.is_empty();

        if may_join {
            self.members.push(instance);
            self.modules.insert(module.bytes.as_ptr());
            self.memory = memory;
        } else if imports
            .iter()
            .any(|(_, definition)| self.needs_member(*definition))
            || is_seen && !self.members.is_empty()
        {
            self.later_instances.insert(instance);
            self.is_closed |= module.has_start;
            self.taken.extend(written);
        }

        Ok(())
    }

    /// Returns whether this comes after the linked module.
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

    fn is_later(&self, definition: Definition<'_>) -> bool {
        match definition {
            Definition::Export { instance, .. } => self.later_instances.contains(&instance),
            Definition::Lowered { function } => self.later_functions.contains(&function),
        }
    }

    /// Returns whether a member exports it.
    pub(super) fn is_from_member(&self, definition: Definition<'_>) -> bool {
        matches!(definition, Definition::Export { instance, .. } if self.is_member(instance))
    }

    fn needs_member(&self, definition: Definition<'_>) -> bool {
        self.is_from_member(definition) || self.is_later(definition)
    }
}
