//! The component again, with one module in the place of those that were linked.

use super::NotLinked;
use super::kinds::{PerKind, kind_of};
use super::layout::{Definition, Item, Layout, needs};
use super::module::{HOST, Linked};
use super::plan::Plan;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, RoundtripReencoder};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId,
    ExportKind, InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{CanonicalFunction, ExternalKind};

/// Everything stays in its order, but for what needs a linked module: it waits for the place of the
/// last of them.
pub(super) fn rewrite<'a>(
    layout: &Layout<'a>,
    plan: &Plan,
    linked: &Linked<'a>,
) -> Result<Vec<u8>, NotLinked> {
    let mut writer = Writer::new(layout, plan, linked);
    let mut waiting = Vec::new();
    for item in &layout.items {
        match item {
            Item::Instantiate(instance) if plan.is_member(*instance) => {
                if plan.members.last() == Some(instance) {
                    writer.linked()?;
                    for item in waiting.drain(..) {
                        writer.item(item)?;
                    }
                }
            }
            item if writer.linked_instance.is_none() && plan.waits(item) => waiting.push(item),
            item => writer.item(item)?,
        }
    }

    Ok(writer.out.finish())
}

struct Writer<'l, 'a> {
    layout: &'l Layout<'a>,
    plan: &'l Plan,
    linked: &'l Linked<'a>,
    out: Component,
    modules: u32,
    instances: u32,
    /// The number of core items of each kind so far.
    counts: PerKind<u32>,
    linked_instance: Option<u32>,
    /// The modules and instances that are not linked, by where they were.
    placed_modules: HashMap<u32, u32>,
    placed_instances: HashMap<u32, u32>,
    /// Core items that were needed, by where they come from.
    placed: HashMap<Definition<'a>, u32>,
}

impl<'l, 'a> Writer<'l, 'a> {
    fn new(layout: &'l Layout<'a>, plan: &'l Plan, linked: &'l Linked<'a>) -> Self {
        Self {
            layout,
            plan,
            linked,
            out: Component::new(),
            modules: 0,
            instances: 0,
            counts: PerKind::default(),
            linked_instance: None,
            placed_modules: HashMap::new(),
            placed_instances: HashMap::new(),
            placed: HashMap::new(),
        }
    }

    fn item(&mut self, item: &Item<'a>) -> Result<(), NotLinked> {
        match item {
            Item::Section { id, bytes } => {
                self.out.section(&RawSection {
                    id: *id,
                    data: bytes,
                });
            }
            Item::Alias(alias) => {
                let mut section = ComponentAliasSection::new();
                section.alias(RoundtripReencoder.component_alias(alias.clone())?);
                self.out.section(&section);
            }
            Item::Lower { function, index } => {
                self.canonical(function)?;
                self.placed.insert(
                    Definition::Lowered { function: *index },
                    self.counts.functions,
                );
                self.counts.functions += 1;
            }
            Item::Lift(function) => self.canonical(function)?,
            Item::Instantiate(instance) => self.other(*instance)?,
        }

        Ok(())
    }

    fn canonical(&mut self, function: &CanonicalFunction) -> Result<(), NotLinked> {
        let mut places = Placed::default();
        for (kind, index) in needs(function) {
            let place = self.place(kind, self.layout.definition(kind, index)?)?;
            places.0.of_mut(kind)?.insert(index, place);
        }
        let mut section = CanonicalFunctionSection::new();
        places.parse_component_canonical(&mut section, function.clone())?;
        self.out.section(&section);
        Ok(())
    }

    /// The linked module is instantiated.
    fn linked(&mut self) -> Result<(), NotLinked> {
        let linked = self.linked;
        let numbered = linked.imports.iter().zip(0_u32..);
        let host = numbered
            .map(|((kind, definition), number)| (number.to_string(), (*kind, *definition)))
            .collect();
        let module = self.module(&linked.bytes);
        self.linked_instance = Some(self.instantiate(module, BTreeMap::from([(HOST, host)]))?);
        Ok(())
    }

    /// An instance that is not linked, which has just those arguments that its module imports.
    fn other(&mut self, instance: u32) -> Result<(), NotLinked> {
        let mut arguments: BTreeMap<&str, Bag<'a>> = BTreeMap::new();
        for (import, definition) in self.layout.imports_of(instance)? {
            let bag = arguments.entry(import.module).or_default();
            bag.insert(import.name.to_owned(), (kind_of(&import), definition));
        }

        let index = self.layout.module_index(instance)?;
        let module = match self.placed_modules.get(&index) {
            Some(module) => *module,
            None => self.module(self.layout.module_of(instance)?.bytes),
        };
        self.placed_modules.insert(index, module);
        let place = self.instantiate(module, arguments)?;
        self.placed_instances.insert(instance, place);

        Ok(())
    }

    fn module(&mut self, bytes: &[u8]) -> u32 {
        self.out.section(&RawSection {
            id: ComponentSectionId::CoreModule.into(),
            data: bytes,
        });
        self.modules += 1;
        self.modules - 1
    }

    fn instantiate(
        &mut self,
        module: u32,
        arguments: BTreeMap<&str, Bag<'a>>,
    ) -> Result<u32, NotLinked> {
        let mut bags = Vec::new();
        for (name, bag) in arguments {
            bags.push((name, ModuleArg::Instance(self.bag(bag)?)));
        }
        let mut section = InstanceSection::new();
        section.instantiate(module, bags);
        self.out.section(&section);
        Ok(self.next_instance())
    }

    fn bag(&mut self, bag: Bag<'a>) -> Result<u32, NotLinked> {
        let mut exports = Vec::new();
        for (name, (kind, definition)) in bag {
            exports.push((name, ExportKind::from(kind), self.place(kind, definition)?));
        }
        let mut section = InstanceSection::new();
        section.export_items(
            exports
                .iter()
                .map(|(name, kind, index)| (name.as_str(), *kind, *index)),
        );
        self.out.section(&section);
        Ok(self.next_instance())
    }

    fn next_instance(&mut self) -> u32 {
        self.instances += 1;
        self.instances - 1
    }

    /// The index of a core thing: its own, or that of an alias which is made for it.
    fn place(&mut self, kind: ExternalKind, definition: Definition<'a>) -> Result<u32, NotLinked> {
        if let Some(place) = self.placed.get(&definition) {
            return Ok(*place);
        }

        let Definition::Export { instance, name } = definition else {
            return Err(NotLinked::Dangling);
        };
        let (instance, name) = if self.plan.is_member(instance) {
            (
                self.linked_instance,
                self.linked.exports.get(&definition).map(String::as_str),
            )
        } else {
            (self.placed_instances.get(&instance).copied(), Some(name))
        };

        let (instance, name) = instance.zip(name).ok_or(NotLinked::Dangling)?;
        let mut section = ComponentAliasSection::new();
        section.alias(Alias::CoreInstanceExport {
            instance,
            kind: kind.into(),
            name,
        });
        self.out.section(&section);
        let count = self.counts.of_mut(kind)?;
        self.placed.insert(definition, *count);
        *count += 1;

        Ok(*count - 1)
    }
}

/// What a module is given under one name.
type Bag<'a> = BTreeMap<String, (ExternalKind, Definition<'a>)>;

/// Where the core things are that one function of the host's needs, by where they were.
#[derive(Default)]
struct Placed(PerKind<HashMap<u32, u32>>);

impl Reencode for Placed {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.0.functions.get(&index).copied().unwrap_or(index))
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.0.memories.get(&index).copied().unwrap_or(index))
    }
}

impl ReencodeComponent for Placed {}
