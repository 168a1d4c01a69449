//! What a component is made of, as far as its core modules are concerned.

use super::NotLinked;
use super::core_module::{Module, Place};
use super::kinds::PerKind;
use std::collections::HashMap;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentType, Encoding, Export, ExternalKind, Import, Instance,
    Parser, Payload,
};

/// Core instances, before they are linked: beyond this many nothing is. CPython has 14, and one
/// more for each extension.
const MOST_INSTANCES: usize = 64;
/// Size of all import sections that linking may copy, one per instance. CPython has 75 KB.
const MOST_IMPORT_BYTES: usize = 1 << 20;

/// A component, taken apart.
#[derive(Default)]
pub(super) struct Layout<'a> {
    /// Everything but core modules and the names of core things, in the order of the file.
    pub(super) items: Vec<Item<'a>>,
    pub(super) modules: Vec<Module<'a>>,
    pub(super) instances: Vec<CoreInstance<'a>>,
    /// The index spaces of core things.
    core: PerKind<Vec<Definition<'a>>>,
}

/// A part of a component.
pub(super) enum Item<'a> {
    /// A section without core things: it stays as it is.
    Section { id: u8, bytes: &'a [u8] },
    /// An alias of something that is not a core thing: it stays as well.
    Alias(ComponentAlias<'a>),
    /// A function of the host's for the guest, with its index among the core functions.
    Lower {
        function: CanonicalFunction,
        index: u32,
    },
    /// A function of the guest's for the host.
    Lift(CanonicalFunction),
    /// A core module is instantiated: its index among the instances.
    Instantiate(u32),
}

impl Item<'_> {
    fn instance(&self) -> Option<u32> {
        match self {
            Self::Instantiate(instance) => Some(*instance),
            _ => None,
        }
    }
}

/// A core instance, and what it is made of.
pub(super) enum CoreInstance<'a> {
    /// An instance of a module, with instances for its imports.
    Of {
        module: u32,
        arguments: HashMap<&'a str, u32>,
    },
    /// A group of exports of other instances.
    Bag(HashMap<&'a str, Definition<'a>>),
}

/// What defines a core item, behind all aliases and bags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Definition<'a> {
    /// An instance of a module exports it by this name.
    Export { instance: u32, name: &'a str },
    /// It is this core function, which the host provides.
    Lowered { function: u32 },
}

impl<'a> Layout<'a> {
    pub(super) fn read(component: &'a [u8]) -> Result<Self, NotLinked> {
        let mut layout = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            if depth == 0 {
                layout.section(&payload, component)?;
            } else {
                check_nested(&payload)?;
            }
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }

        let instances = layout
            .items
            .iter()
            .filter_map(Item::instance)
            .collect::<Vec<_>>();
        let mut import_bytes = 0;
        for instance in &instances {
            import_bytes += layout.module_of(*instance)?.import_bytes;
        }

        if instances.len() > MOST_INSTANCES || import_bytes > MOST_IMPORT_BYTES {
            return Err(NotLinked::Unknown(
                "a component with too many instances or imports",
            ));
        }

        Ok(layout)
    }

    fn section(&mut self, payload: &Payload<'a>, component: &'a [u8]) -> Result<(), NotLinked> {
        match payload {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            }
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                let bytes = component
                    .get(unchecked_range.clone())
                    .ok_or(NotLinked::Dangling)?;
                self.modules.push(Module::read(bytes)?);
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.instance(instance?)?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(alias?)?;
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    self.canonical(function?)?;
                }
            }
            other => self.keep(other, component)?,
        }

        Ok(())
    }

    fn instance(&mut self, instance: Instance<'a>) -> Result<(), NotLinked> {
        let instance = match instance {
            Instance::Instantiate { module_index, args } => {
                self.items
                    .push(Item::Instantiate(self.instances.len() as u32));
                let arguments = args
                    .iter()
                    .map(|argument| (argument.name, argument.index))
                    .collect();
                CoreInstance::Of {
                    module: module_index,
                    arguments,
                }
            }
            Instance::FromExports(exports) => {
                let definition = |export: &Export<'a>| {
                    Ok((export.name, self.definition(export.kind, export.index)?))
                };
                CoreInstance::Bag(
                    exports
                        .iter()
                        .map(definition)
                        .collect::<Result<_, NotLinked>>()?,
                )
            }
        };

        self.instances.push(instance);
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), NotLinked> {
        match alias {
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index: instance,
                name,
            } => {
                let definition = self.export(instance, name)?;
                self.core.of_mut(kind)?.push(definition);
            }
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Module,
                ..
            }
            | ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::CoreType,
                ..
            } => {
                return Err(NotLinked::Unknown("a module from elsewhere"));
            }
            alias => self.items.push(Item::Alias(alias)),
        }

        Ok(())
    }

    fn canonical(&mut self, function: CanonicalFunction) -> Result<(), NotLinked> {
        match function {
            CanonicalFunction::Lift { .. } => self.items.push(Item::Lift(function)),
            CanonicalFunction::Lower { .. }
            | CanonicalFunction::ResourceNew { .. }
            | CanonicalFunction::ResourceDrop { .. }
            | CanonicalFunction::ResourceRep { .. } => {
                let index = self.core.functions.len() as u32;
                self.core
                    .functions
                    .push(Definition::Lowered { function: index });
                self.items.push(Item::Lower { function, index });
            }
            _ => return Err(NotLinked::Unknown("a built-in of the asynchronous kind")),
        }

        Ok(())
    }

    /// A section that says nothing of core things.
    fn keep(&mut self, payload: &Payload<'a>, component: &'a [u8]) -> Result<(), NotLinked> {
        if names_core_things(payload)? {
            return Err(NotLinked::Unknown(
                "a core type, a core module as a value, or a destructor",
            ));
        }
        let (id, range) = payload
            .as_section()
            .ok_or(NotLinked::Unknown("a section"))?;
        let bytes = component.get(range).ok_or(NotLinked::Dangling)?;
        self.items.push(Item::Section { id, bytes });
        Ok(())
    }

    /// Where a core thing comes from.
    pub(super) fn definition(
        &self,
        kind: ExternalKind,
        index: u32,
    ) -> Result<Definition<'a>, NotLinked> {
        self.core
            .of(kind)?
            .get(index as usize)
            .copied()
            .ok_or(NotLinked::Dangling)
    }

    fn export(&self, instance: u32, name: &'a str) -> Result<Definition<'a>, NotLinked> {
        match self
            .instances
            .get(instance as usize)
            .ok_or(NotLinked::Dangling)?
        {
            CoreInstance::Of { .. } => Ok(Definition::Export { instance, name }),
            CoreInstance::Bag(exports) => exports.get(name).copied().ok_or(NotLinked::Dangling),
        }
    }

    /// The module of an instance of one.
    pub(super) fn module_of(&self, instance: u32) -> Result<&Module<'a>, NotLinked> {
        self.modules
            .get(self.module_index(instance)? as usize)
            .ok_or(NotLinked::Dangling)
    }

    pub(super) fn module_index(&self, instance: u32) -> Result<u32, NotLinked> {
        match self.instances.get(instance as usize) {
            Some(CoreInstance::Of { module, .. }) => Ok(*module),
            _ => Err(NotLinked::Dangling),
        }
    }

    /// Where the imports of an instance's module come from, in their order.
    pub(super) fn imports_of(
        &self,
        instance: u32,
    ) -> Result<Vec<(Import<'a>, Definition<'a>)>, NotLinked> {
        let definition = |import: &Import<'a>| Ok((*import, self.import(instance, import)?));
        self.module_of(instance)?
            .imports
            .iter()
            .map(definition)
            .collect()
    }

    fn import(&self, instance: u32, import: &Import<'a>) -> Result<Definition<'a>, NotLinked> {
        match self.instances.get(instance as usize) {
            Some(CoreInstance::Of { arguments, .. }) => {
                let argument = *arguments.get(import.module).ok_or(NotLinked::Dangling)?;
                self.export(argument, import.name)
            }
            _ => Err(NotLinked::Dangling),
        }
    }

    /// Returns the memories that an instance uses, its own or another's.
    pub(super) fn memories_of(&self, instance: u32) -> Result<Vec<(u32, Place)>, NotLinked> {
        let module = self.module_of(instance)?;
        let count = module.imported_memories.len() as u32 + module.counts.core.memories;
        (0..count)
            .map(|index| self.home(instance, Place::Memory(index)))
            .collect()
    }

    /// Whose a table or a memory of an instance is in the end, and which of its own: they go from
    /// hand to hand.
    pub(super) fn home(
        &self,
        mut instance: u32,
        mut place: Place,
    ) -> Result<(u32, Place), NotLinked> {
        loop {
            let module = self.module_of(instance)?;
            let import = match place {
                Place::Table(index) => module.imported_tables.get(index as usize),
                Place::Memory(index) => module.imported_memories.get(index as usize),
            };
            let Some(import) = import else {
                return Ok((instance, place));
            };
            let Definition::Export {
                instance: owner,
                name,
            } = self.import(instance, import)?
            else {
                return Err(NotLinked::Dangling);
            };
            place = match self.module_of(owner)?.exports.get(name) {
                Some((ExternalKind::Table, index)) => Place::Table(*index),
                Some((ExternalKind::Memory, index)) => Place::Memory(*index),
                _ => return Err(NotLinked::Dangling),
            };
            instance = owner;
        }
    }
}

/// What a function of the host's, or for it, needs of the core: its memory and its functions.
pub(super) fn needs(function: &CanonicalFunction) -> Vec<(ExternalKind, u32)> {
    let (options, lifted) = match function {
        CanonicalFunction::Lift {
            core_func_index,
            options,
            ..
        } => (options, Some(*core_func_index)),
        CanonicalFunction::Lower { options, .. } => (options, None),
        _ => return Vec::new(),
    };

    let option = |option: &CanonicalOption| match *option {
        CanonicalOption::Memory(index) => Some((ExternalKind::Memory, index)),
        CanonicalOption::Realloc(index)
        | CanonicalOption::PostReturn(index)
        | CanonicalOption::Callback(index) => Some((ExternalKind::Func, index)),
        _ => None,
    };

    lifted
        .map(|index| (ExternalKind::Func, index))
        .into_iter()
        .chain(options.iter().filter_map(option))
        .collect()
}

fn names_core_things(payload: &Payload<'_>) -> Result<bool, NotLinked> {
    let is_module = |kind: &ComponentExternalKind| *kind == ComponentExternalKind::Module;
    match payload {
        Payload::CoreTypeSection(_) => return Ok(true),
        Payload::ComponentTypeSection(section) => {
            for ty in section.clone() {
                if matches!(ty?, ComponentType::Resource { dtor: Some(_), .. }) {
                    return Ok(true);
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section.clone() {
                let has_module = match instance? {
                    ComponentInstance::Instantiate { args, .. } => {
                        args.iter().any(|argument| is_module(&argument.kind))
                    }
                    ComponentInstance::FromExports(exports) => {
                        exports.iter().any(|export| is_module(&export.kind))
                    }
                };
                if has_module {
                    return Ok(true);
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone() {
                if is_module(&export?.kind) {
                    return Ok(true);
                }
            }
        }
        _ => {}
    }

    Ok(false)
}

/// A component in the component may not reach for the modules of the outer one: they are not where
/// they were.
fn check_nested(payload: &Payload<'_>) -> Result<(), NotLinked> {
    let Payload::ComponentAliasSection(section) = payload else {
        return Ok(());
    };
    for alias in section.clone() {
        if let ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::CoreModule,
            ..
        } = alias?
        {
            return Err(NotLinked::Unknown("a module from elsewhere"));
        }
    }

    Ok(())
}
