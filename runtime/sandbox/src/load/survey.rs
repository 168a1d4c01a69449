//! Counts what a component consists of, without compiling or running it.
//!
//! A component of three kilobytes can instantiate itself 10^14 times, and a megabyte of element
//! segments costs the compiler seven gigabytes. The counts here are transitive and saturate, so
//! that such a component is refused before the compiler sees it. They also say how long the
//! component's code can run between two checks of the clock, which decides whether its calls may
//! begin on a thread that serves requests.
//!
//! **Invariant:** time and memory are linear in the size of the file.

use super::error::Unloadable;
use crate::engine::limits::{MAX_FAST_MEMORY_BYTES, TABLE_ELEMENT_BYTES};
use crate::guest_text::{name_in_words, words};
use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ConstExpr, CustomSectionReader, DataKind, DataSectionReader, ElementItems,
    ElementKind, ElementSectionReader, FunctionBody, ImportSectionReader, Instance, KnownCustom,
    MemorySectionReader, MemoryType, Name, Operator, Parser, Payload, SectionLimited, TypeRef,
};

/// Components in components, and a module in the innermost. Toolchains nest once.
const MAX_DEPTH: usize = 16;
/// Instances of components and modules together, transitively: wasmtime compiles a copy of what it
/// links for each.
const MAX_INSTANTIATIONS: u64 = 64;
/// Modules and components in the file, also those that are never instantiated. CPython that is not
/// linked has 30.
const MAX_PARTS: u64 = 1_000;
/// Imports and exports of the component itself. CPython has 25.
const MAX_NAMES: u64 = 200;
/// Functions of all modules. CPython has 12,000, StarlingMonkey 20,000.
const MAX_FUNCTIONS: u64 = 150_000;
/// Elements of active and passive segments: in the file, and for each instantiation of their module.
const MAX_SEGMENT_ELEMENTS: u64 = 100_000;
/// Data segments of all modules. Go makes 32,500 of a small program.
const MAX_DATA_SEGMENTS: u64 = 200_000;
/// Types, imports, exports, globals, tables, element segments and items of components, of all
/// modules and components: wasmtime keeps some 100 bytes of each in the host's memory for as long
/// as the component is loaded. Four modules with 900,000 exports each took 420 MiB. CPython has
/// 3,000, StarlingMonkey 600.
const MAX_DECLARATIONS: u64 = 100_000;
/// Bytes of the sections with those, which bound their names and the parts of types. CPython has
/// 72,000.
const MAX_DECLARATION_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes that an instantiation copies because no image of them can be mapped, for all instances
/// together.
const MAX_COPIED_BYTES: u64 = 64 * 1024 * 1024;
/// The image of a memory that wasmtime makes however little of it is data. A larger one is made only
/// if at least half of it is data.
const SPARSE_IMAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Size of a page of WebAssembly memory.
const PAGE_BYTES: u64 = 64 * 1024;

/// The most that one function may cost, in units of a simple instruction, if it is to begin on a
/// thread that serves requests. wasmtime checks the epoch at function entries and loops only, so
/// this is what runs in between: 20,000 loads that each miss every cache take two milliseconds.
const MAX_FAST_COST: u64 = 20_000;
/// The same for what an instantiation copies.
const MAX_FAST_COPIED_BYTES: u64 = 256 * 1024;
/// The same for elements of segments, which may be written into tables one by one.
const MAX_FAST_ELEMENTS: u64 = 5_000;
/// The cost of a division or a square root, by the latency tables of x86-64.
const SLOW_INSTRUCTION: u64 = 20;
/// The cost of an instruction that calls the host, or may: the way there and back. The host's own
/// work is followed by a check.
const HOST_INSTRUCTION: u64 = 50;

/// What was counted of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Bytes without custom sections.
    pub(crate) code_bytes: u64,
    /// Core instances that one instantiation makes.
    pub(crate) core_instances: u64,
    /// The smallest sizes of all linear memories of one instantiation, in bytes.
    pub(crate) memory_bytes: u64,
    /// Elements of its largest table.
    pub(crate) table_elements: u64,
    /// The smallest sizes of all tables of one instantiation, in elements.
    pub(crate) all_table_elements: u64,
    /// Whether its calls may begin on a thread that serves requests.
    pub(crate) is_fit_for_fast_path: bool,
    /// Names of its imports, escaped and cut.
    pub(crate) imports: Vec<String>,
    /// Names of its exports, escaped and cut.
    pub(crate) exports: Vec<String>,
}

impl Facts {
    /// Returns what the memories and tables of one call begin with, in bytes.
    pub(crate) fn initial_bytes(&self) -> usize {
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let tables = bytes(self.all_table_elements).saturating_mul(TABLE_ELEMENT_BYTES);
        bytes(self.memory_bytes).saturating_add(tables)
    }
}

/// Surveys a component.
///
/// # Errors
/// It cannot be parsed, or has more of something than is accepted of any component.
pub(super) fn survey(bytes: &[u8]) -> Result<Facts, Unloadable> {
    let mut survey = Survey::default();
    for payload in Parser::new(0).parse_all(bytes) {
        survey.add(payload?)?;
    }
    Ok(survey.into_facts(bytes.len() as u64))
}

impl From<wasmparser::BinaryReaderError> for Unloadable {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid(words(error))
    }
}

/// What one instantiation of a module or component comes to, transitively.
#[derive(Clone, Copy, Default)]
struct Cost {
    instantiations: u64,
    core_instances: u64,
    memory_bytes: u64,
    table_elements: u64,
    copied_bytes: u64,
    segment_elements: u64,
    /// Imports, aliases, functions and the like of components: wasmtime writes those of a component
    /// out for each of its instances.
    items: u64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            instantiations: self.instantiations.saturating_add(other.instantiations),
            core_instances: self.core_instances.saturating_add(other.core_instances),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            table_elements: self.table_elements.saturating_add(other.table_elements),
            copied_bytes: self.copied_bytes.saturating_add(other.copied_bytes),
            segment_elements: self.segment_elements.saturating_add(other.segment_elements),
            items: self.items.saturating_add(other.items),
        }
    }

    /// Refuses what is too much of any component. Called for each sum, so that none grows far
    /// beyond its limit.
    fn check(self) -> Result<Self, Unloadable> {
        check(
            "instances, counted transitively",
            self.instantiations,
            MAX_INSTANTIATIONS,
        )?;
        check(
            "elements in segments",
            self.segment_elements,
            MAX_SEGMENT_ELEMENTS,
        )?;
        check(
            "bytes of data that every call would copy",
            self.copied_bytes,
            MAX_COPIED_BYTES,
        )?;
        check(
            "imports, aliases and functions of components, counted transitively",
            self.items,
            MAX_DECLARATIONS,
        )?;

        Ok(self)
    }
}

fn check(unit: &str, found: u64, limit: u64) -> Result<(), Unloadable> {
    if found > limit {
        Err(Unloadable::TooMany {
            found,
            limit,
            unit: unit.to_owned(),
        })
    } else {
        Ok(())
    }
}

/// A component whose end has not been reached. An index space holds `None` for what is not defined
/// in the file.
#[derive(Default)]
struct OpenComponent {
    modules: Vec<Option<Cost>>,
    components: Vec<Option<Cost>>,
    cost: Cost,
}

/// A module whose end has not been reached.
#[derive(Default)]
struct OpenModule {
    memories: Vec<MemoryType>,
    imported_memories: usize,
    imported_functions: u32,
    has_start: bool,
    data: ActiveData,
    cost: Cost,
}

/// The active data segments of a module. wasmtime maps an image of all of them, or copies each.
#[derive(Default)]
struct ActiveData {
    bytes: u64,
    /// From the first byte to the end of the last one.
    extent: Option<(u64, u64)>,
    /// Whether one is for an imported memory, at a place that is not a single constant, or beyond
    /// the memory's smallest size.
    has_unmappable: bool,
}

impl ActiveData {
    /// Adds a segment of `length` bytes for a memory of the module's own of `memory_bytes`, or for
    /// an imported one. `start` is `None` where the place is not a single constant.
    fn add(&mut self, start: Option<u64>, length: u64, memory_bytes: Option<u64>) {
        self.bytes = self.bytes.saturating_add(length);
        let (Some(start), Some(memory_bytes)) = (start, memory_bytes) else {
            self.has_unmappable = true;
            return;
        };

        let end = start.saturating_add(length);
        self.has_unmappable |= end > memory_bytes;
        if length > 0 {
            let (first, last) = self.extent.unwrap_or((start, end));
            self.extent = Some((first.min(start), last.max(end)));
        }
    }

    /// Bytes that each instantiation copies.
    fn copied_bytes(&self) -> u64 {
        let image = self.extent.map_or(0, |(first, last)| last - first);
        let is_sparse = image >= self.bytes.saturating_mul(2) && image >= SPARSE_IMAGE_BYTES;
        if self.has_unmappable || is_sparse {
            self.bytes
        } else {
            0
        }
    }
}

enum Open {
    Component(OpenComponent),
    Module(OpenModule),
}

#[derive(Default)]
struct Survey {
    open: Vec<Open>,
    /// The outermost component, once it has ended.
    whole: Cost,
    custom_bytes: u64,
    parts: u64,
    declarations: u64,
    declaration_bytes: u64,
    elements: u64,
    data_segments: u64,
    functions: u64,
    largest_function: u64,
    table_elements: u64,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Survey {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), Unloadable> {
        self.count_declarations(&payload)?;
        match payload {
            Payload::Version { encoding, .. } => {
                let opened = match encoding {
                    wasmparser::Encoding::Component => Open::Component(OpenComponent::default()),
                    wasmparser::Encoding::Module => Open::Module(OpenModule::default()),
                };
                self.open.push(opened);
                if self.open.len() > MAX_DEPTH + 1 {
                    return Err(Unloadable::TooDeep { limit: MAX_DEPTH });
                }
            }
            Payload::End(_) => self.close()?,
            Payload::CustomSection(section) => {
                let range = section.range();
                self.custom_bytes += (range.end - range.start) as u64;
                self.count_module_names(&section)?;
            }
            other => match self.open.last() {
                Some(Open::Component(_)) => self.add_to_component(other)?,
                Some(Open::Module(_)) => self.add_to_module(other)?,
                None => {}
            },
        }

        Ok(())
    }

    /// Counts what wasmtime keeps of a section for as long as the component is loaded. What can be
    /// large for good reasons has limits of its own: functions, elements, data.
    fn count_declarations(&mut self, payload: &Payload<'_>) -> Result<(), Unloadable> {
        let (entries, bytes) = match payload {
            Payload::TypeSection(section) => extent(section),
            Payload::ImportSection(section) => extent(section),
            Payload::FunctionSection(section) => (0, extent(section).1),
            Payload::TableSection(section) => extent(section),
            Payload::MemorySection(section) => extent(section),
            Payload::TagSection(section) => extent(section),
            Payload::GlobalSection(section) => extent(section),
            Payload::ExportSection(section) => extent(section),
            Payload::ElementSection(section) => (extent(section).0, 0),
            Payload::InstanceSection(section) => extent(section),
            Payload::CoreTypeSection(section) => extent(section),
            Payload::ComponentInstanceSection(section) => extent(section),
            Payload::ComponentAliasSection(section) => extent(section),
            Payload::ComponentTypeSection(section) => extent(section),
            Payload::ComponentCanonicalSection(section) => extent(section),
            Payload::ComponentImportSection(section) => extent(section),
            Payload::ComponentExportSection(section) => extent(section),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.parts += 1;
                return check("modules and components", self.parts, MAX_PARTS);
            }
            _ => return Ok(()),
        };

        if let Some(component) = self.component() {
            component.cost.items = component.cost.items.saturating_add(entries);
        }
        self.declarations = self.declarations.saturating_add(entries);
        check(
            "types, imports, exports, globals and other declarations",
            self.declarations,
            MAX_DECLARATIONS,
        )?;
        self.add_declaration_bytes(bytes)
    }

    fn add_declaration_bytes(&mut self, bytes: u64) -> Result<(), Unloadable> {
        self.declaration_bytes = self.declaration_bytes.saturating_add(bytes);
        check(
            "bytes of types, imports, exports, globals and other declarations",
            self.declaration_bytes,
            MAX_DECLARATION_BYTES,
        )
    }

    /// Counts the name of a module, which wasmtime keeps. It keeps names of functions as places in
    /// the file. A section that cannot be read is ignored, as wasmtime does.
    fn count_module_names(&mut self, section: &CustomSectionReader<'_>) -> Result<(), Unloadable> {
        let KnownCustom::Name(names) = section.as_known() else {
            return Ok(());
        };
        for name in names {
            match name {
                Ok(Name::Module { name, .. }) => self.add_declaration_bytes(name.len() as u64)?,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unloadable> {
        match self.open.pop() {
            Some(Open::Module(module)) => {
                let cost = Cost {
                    instantiations: 1,
                    core_instances: 1,
                    copied_bytes: module.data.copied_bytes(),
                    ..module.cost
                }
                .check()?;
                if let Some(parent) = self.component() {
                    parent.modules.push(Some(cost));
                }
            }
            Some(Open::Component(component)) => {
                let cost = component.cost;
                match self.component() {
                    Some(parent) => parent.components.push(Some(cost)),
                    None => self.whole = cost,
                }
            }
            None => {}
        }

        Ok(())
    }

    /// The innermost open component, if nothing else is open in it.
    fn component(&mut self) -> Option<&mut OpenComponent> {
        match self.open.last_mut() {
            Some(Open::Component(component)) => Some(component),
            _ => None,
        }
    }

    fn module(&mut self) -> Option<&mut OpenModule> {
        match self.open.last_mut() {
            Some(Open::Module(module)) => Some(module),
            _ => None,
        }
    }

    fn add_to_component(&mut self, payload: Payload<'_>) -> Result<(), Unloadable> {
        match payload {
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    self.name_import(import.name.name)?;
                    match import.ty {
                        ComponentTypeRef::Module(_) => self.define(BinaryKind::Module, None),
                        ComponentTypeRef::Component(_) => self.define(BinaryKind::Component, None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.name_export(export.name.name)?;
                    // An export is a further item of its index space.
                    if let Some(kind) = BinaryKind::of(export.kind) {
                        let exported = self.find(kind, 0, export.index);
                        self.define(kind, exported);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    self.add_alias(&alias?);
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(BinaryKind::Module, module_index)?;
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance?
                    {
                        self.instantiate(BinaryKind::Component, component_index)?;
                    }
                }
            }
            _ => {}
        }

        Ok(())
    }

    fn add_alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::InstanceExport { kind, .. } => {
                if let Some(kind) = BinaryKind::of(kind) {
                    self.define(kind, None);
                }
            }
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::CoreModule => BinaryKind::Module,
                    ComponentOuterAliasKind::Component => BinaryKind::Component,
                    _ => return,
                };
                let outer = self.find(kind, count, index);
                self.define(kind, outer);
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }

    /// An item of an index space, `outward` components from the innermost.
    fn find(&self, kind: BinaryKind, outward: u32, index: u32) -> Option<Cost> {
        let depth = self
            .open
            .len()
            .checked_sub(1 + usize::try_from(outward).ok()?)?;
        let Open::Component(component) = self.open.get(depth)? else {
            return None;
        };
        *kind.space(component).get(usize::try_from(index).ok()?)?
    }

    fn define(&mut self, kind: BinaryKind, item: Option<Cost>) {
        if let Some(component) = self.component() {
            kind.space_mut(component).push(item);
        }
    }

    fn instantiate(&mut self, kind: BinaryKind, index: u32) -> Result<(), Unloadable> {
        let found = self.find(kind, 0, index);
        let cost = found.ok_or_else(|| Unloadable::InstantiatesUnknown(kind.name().to_owned()))?;
        let own = Cost {
            instantiations: u64::from(kind == BinaryKind::Component),
            ..Cost::default()
        };
        if let Some(component) = self.component() {
            component.cost = component.cost.plus(cost).plus(own).check()?;
        }
        Ok(())
    }

    fn name_import(&mut self, name: &str) -> Result<(), Unloadable> {
        if self.open.len() == 1 {
            self.imports.push(name_in_words(name));
        }
        check("imports", self.imports.len() as u64, MAX_NAMES)
    }

    fn name_export(&mut self, name: &str) -> Result<(), Unloadable> {
        if self.open.len() == 1 {
            self.exports.push(name_in_words(name));
        }
        check("exports", self.exports.len() as u64, MAX_NAMES)
    }

    fn add_to_module(&mut self, payload: Payload<'_>) -> Result<(), Unloadable> {
        match payload {
            Payload::ImportSection(imports) => self.add_imports(imports),
            Payload::MemorySection(memories) => self.add_memories(memories),
            Payload::TableSection(tables) => {
                for table in tables {
                    let elements = table?.ty.initial;
                    self.table_elements = self.table_elements.max(elements);
                    self.edit(|module| {
                        let all = module.cost.table_elements;
                        module.cost.table_elements = all.saturating_add(elements);
                    });
                }
                Ok(())
            }
            Payload::StartSection { .. } => {
                self.edit(|module| module.has_start = true);
                Ok(())
            }
            Payload::ElementSection(segments) => self.add_elements(segments),
            Payload::DataSection(segments) => self.add_data(segments),
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(count.into());
                check("functions", self.functions, MAX_FUNCTIONS)
            }
            Payload::CodeSectionEntry(body) => {
                let imported = self.module().map_or(0, |module| module.imported_functions);
                self.largest_function = self.largest_function.max(cost_of(&body, imported)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_imports(&mut self, imports: ImportSectionReader<'_>) -> Result<(), Unloadable> {
        for import in imports.into_imports() {
            match import?.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                    self.edit(|module| module.imported_functions += 1);
                }
                TypeRef::Memory(memory) => self.edit(|module| {
                    module.memories.push(memory);
                    module.imported_memories += 1;
                }),
                TypeRef::Table(table) => {
                    self.table_elements = self.table_elements.max(table.initial);
                }
                _ => {}
            }
        }

        self.check_memories()
    }

    fn add_memories(&mut self, memories: MemorySectionReader<'_>) -> Result<(), Unloadable> {
        for memory in memories {
            let memory = memory?;
            self.edit(|module| {
                module.memories.push(memory);
                let bytes = memory.initial.saturating_mul(PAGE_BYTES);
                module.cost.memory_bytes = module.cost.memory_bytes.saturating_add(bytes);
            });
        }
        self.check_memories()
    }

    /// Counts the elements that each instantiation copies: a declared segment is not copied.
    fn add_elements(&mut self, segments: ElementSectionReader<'_>) -> Result<(), Unloadable> {
        for segment in segments {
            let segment = segment?;
            let count = match &segment.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            if !matches!(segment.kind, ElementKind::Declared) {
                self.elements = self.elements.saturating_add(count.into());
                check("elements in segments", self.elements, MAX_SEGMENT_ELEMENTS)?;
                self.edit(|module| {
                    module.cost.segment_elements =
                        module.cost.segment_elements.saturating_add(count.into());
                });
            }
        }

        Ok(())
    }

    /// Notes where the active segments lie, which decides whether each instantiation copies them.
    fn add_data(&mut self, segments: DataSectionReader<'_>) -> Result<(), Unloadable> {
        self.data_segments = self.data_segments.saturating_add(segments.count().into());
        check("data segments", self.data_segments, MAX_DATA_SEGMENTS)?;

        for segment in segments {
            let segment = segment?;
            let DataKind::Active {
                memory_index,
                offset_expr,
            } = segment.kind
            else {
                continue;
            };
            let start = single_constant(&offset_expr)?;
            let length = segment.data.len() as u64;
            self.edit(|module| {
                let index = memory_index as usize;
                let own = module
                    .memories
                    .get(index)
                    .filter(|_| index >= module.imported_memories);
                let memory_bytes = own.map(|memory| memory.initial.saturating_mul(PAGE_BYTES));
                module.data.add(start, length, memory_bytes);
            });
        }

        Ok(())
    }

    fn edit(&mut self, edit: impl FnOnce(&mut OpenModule)) {
        if let Some(module) = self.module() {
            edit(module);
        }
    }

    /// wasmtime's own adapters between components use two memories, so the engine accepts modules
    /// that do. A component's own modules may not.
    fn check_memories(&mut self) -> Result<(), Unloadable> {
        match self.module() {
            Some(module) if module.memories.len() > 1 => Err(Unloadable::Forbidden(
                "several memories in one module (multi-memory)".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn into_facts(self, bytes: u64) -> Facts {
        let Cost {
            core_instances,
            memory_bytes,
            table_elements: all_table_elements,
            copied_bytes,
            segment_elements,
            ..
        } = self.whole;

        let is_fit_for_fast_path = self.largest_function <= MAX_FAST_COST
            && copied_bytes <= MAX_FAST_COPIED_BYTES
            && segment_elements <= MAX_FAST_ELEMENTS
            && memory_bytes <= MAX_FAST_MEMORY_BYTES as u64;
        Facts {
            code_bytes: bytes.saturating_sub(self.custom_bytes),
            core_instances,
            memory_bytes,
            table_elements: self.table_elements,
            all_table_elements,
            is_fit_for_fast_path,
            imports: self.imports,
            exports: self.exports,
        }
    }
}

/// The entries and the bytes of a section.
fn extent<T>(section: &SectionLimited<'_, T>) -> (u64, u64) {
    let range = section.range();
    (section.count().into(), (range.end - range.start) as u64)
}

/// The value of an offset that is one constant and nothing else. wasmtime evaluates no other
/// expression when it compiles, not even a sum of constants.
fn single_constant(expression: &ConstExpr<'_>) -> Result<Option<u64>, Unloadable> {
    let mut operators = expression.get_operators_reader();
    let Operator::I32Const { value } = operators.read()? else {
        return Ok(None);
    };
    let constant = u64::from(value.cast_unsigned());
    Ok(operators.is_end_then_eof().then_some(constant))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BinaryKind {
    Module,
    Component,
}

impl BinaryKind {
    fn of(kind: ComponentExternalKind) -> Option<Self> {
        match kind {
            ComponentExternalKind::Module => Some(Self::Module),
            ComponentExternalKind::Component => Some(Self::Component),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Component => "component",
        }
    }

    fn space(self, component: &OpenComponent) -> &Vec<Option<Cost>> {
        match self {
            Self::Module => &component.modules,
            Self::Component => &component.components,
        }
    }

    fn space_mut(self, component: &mut OpenComponent) -> &mut Vec<Option<Cost>> {
        match self {
            Self::Module => &mut component.modules,
            Self::Component => &mut component.components,
        }
    }
}

/// What the whole body costs if each instruction runs once: an upper bound on what runs between two
/// checks, since every loop and every function entry is a check.
fn cost_of(body: &FunctionBody<'_>, imported_functions: u32) -> Result<u64, Unloadable> {
    let mut cost = 0_u64;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        cost = cost.saturating_add(match operators.read()? {
            Operator::Call { function_index } if function_index < imported_functions => {
                HOST_INSTRUCTION
            }
            Operator::CallIndirect { .. }
            | Operator::RefFunc { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => HOST_INSTRUCTION,
            Operator::I32DivS
            | Operator::I32DivU
            | Operator::I32RemS
            | Operator::I32RemU
            | Operator::I64DivS
            | Operator::I64DivU
            | Operator::I64RemS
            | Operator::I64RemU
            | Operator::F32Div
            | Operator::F64Div
            | Operator::F32Sqrt
            | Operator::F64Sqrt
            | Operator::F32x4Div
            | Operator::F64x2Div
            | Operator::F32x4Sqrt
            | Operator::F64x2Sqrt => SLOW_INSTRUCTION,
            _ => 1,
        });
    }

    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey_text(text: &str) -> Result<Facts, Unloadable> {
        survey(&wat::parse_str(text).unwrap())
    }

    /// `levels` components, each of which instantiates the one before `width` times.
    fn laughs(levels: usize, width: usize) -> String {
        let mut text =
            "(component $root (component $c0 (core module $m) (core instance (instantiate $m)))\n"
                .to_owned();
        for level in 1..=levels {
            let before = level - 1;
            let instances = "(instance (instantiate $p))".repeat(width);
            text += &format!(
                "(component $c{level} (alias outer $root $c{before} (component $p)) {instances})\n"
            );
        }
        text + &format!("(instance (instantiate $c{levels})))")
    }

    fn unit_of(refused: Result<Facts, Unloadable>) -> String {
        match refused {
            Err(Unloadable::TooMany { unit, .. }) => unit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn instances_are_counted_transitively() {
        let small = survey_text(&laughs(2, 3)).unwrap();
        assert_eq!(small.core_instances, 9);
        assert!(unit_of(survey_text(&laughs(14, 10))).starts_with("instances"));
        assert!(
            unit_of(survey_text(&laughs(100, 2))).starts_with("instances"),
            "the count saturates"
        );
        // Of what is never instantiated, nothing is compiled more than once.
        let unused = laughs(14, 10).replace("(instance (instantiate $c14))", "");
        assert!(
            unit_of(survey_text(&unused)).starts_with("instances"),
            "but it is refused all the same"
        );
    }

    #[test]
    fn what_is_instantiated_must_be_defined_in_the_file() {
        let imported =
            "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
        assert_eq!(
            survey_text(imported),
            Err(Unloadable::InstantiatesUnknown("module".into()))
        );
        let taken = "(component (import \"i\" (instance $i (export \"c\" (component))))
            (alias export $i \"c\" (component $c)) (instance (instantiate $c)))";
        assert_eq!(
            survey_text(taken),
            Err(Unloadable::InstantiatesUnknown("component".into()))
        );
    }

    #[test]
    fn modules_have_one_memory_each() {
        let two = "(component (core module (memory 1) (memory 1)))";
        assert!(matches!(survey_text(two), Err(Unloadable::Forbidden(_))));
        let imported = "(component (core module (import \"a\" \"b\" (memory 1)) (memory 1)))";
        assert!(matches!(
            survey_text(imported),
            Err(Unloadable::Forbidden(_))
        ));
        let composed = "(component (core module $a (memory 1)) (core module $b (memory 2))
            (core instance (instantiate $a)) (core instance (instantiate $b)))";
        assert_eq!(survey_text(composed).unwrap().memory_bytes, 3 * PAGE_BYTES);
    }

    #[test]
    fn only_short_functions_and_small_copies_are_fit_for_the_fast_path() {
        let fit = |module: &str| {
            let text =
                format!("(component (core module $m {module}) (core instance (instantiate $m)))");
            survey_text(&text).unwrap().is_fit_for_fast_path
        };
        let root = "(drop (f64.sqrt (f64.const 2)))";
        assert!(fit(&format!("(func {})", root.repeat(100))));
        assert!(!fit(&format!("(func {})", root.repeat(3_000))));
        let log = "(import \"h\" \"log\" (func $log))";
        let line = |calls: usize| {
            let module = format!("{log} (func {})", "(call $log)".repeat(calls));
            let text = format!("(component (core module $m {module}))");
            survey_text(&text).unwrap().is_fit_for_fast_path
        };
        assert!(line(300) && !line(3_000));
        assert!(fit("(memory 100)") && !fit("(memory 200)"));
        let data = format!("\"{}\"", "x".repeat(1_000));
        let own = format!("(memory 20) (data (i32.const 8) {data})");
        assert!(fit(&own));
        let moved = format!(
            "(memory 20) (global $at i32 (i32.const 8)) {}",
            format!("(data (global.get $at) {data})").repeat(300)
        );
        assert!(!fit(&moved));
    }

    #[test]
    fn data_that_no_image_can_hold_is_copied() {
        let copied = |memory: &str, segments: &str| {
            let bytes =
                wat::parse_str(format!("(component (core module {memory} {segments}))")).unwrap();
            let mut survey = Survey::default();
            let mut copied = None;
            for payload in Parser::new(0).parse_all(&bytes) {
                let payload = payload.unwrap();
                if let (Payload::End(_), Some(module)) = (&payload, survey.module()) {
                    copied = Some(module.data.copied_bytes());
                }
                survey.add(payload).unwrap();
            }
            copied.unwrap()
        };
        let data = |offset: &str| format!("(data (offset {offset}) \"abcdefgh\")");
        let own = "(memory 300)";
        assert_eq!(copied(own, &data("i32.const 8")), 0);
        for offset in [
            "i32.const 65536 i32.const 0 i32.add",
            "i32.const 8 i32.const 1 i32.mul",
            "global.get 0",
        ] {
            let segments = format!("(global i32 (i32.const 8)) {}", data(offset));
            assert_eq!(copied(own, &segments), 8, "{offset}");
            // One such segment, and wasmtime copies all of them.
            let both = format!("{segments} {}", data("i32.const 80"));
            assert_eq!(copied(own, &both), 16, "{offset}");
        }

        let imported = "(import \"a\" \"b\" (memory 300))";
        assert_eq!(copied(imported, &data("i32.const 8")), 8);
        let beyond = format!("i32.const {}", 300 * PAGE_BYTES - 7);
        assert_eq!(copied(own, &data(&beyond)), 8);
        let near = format!("i32.const {}", SPARSE_IMAGE_BYTES - 9);
        assert_eq!(copied(own, &(data("i32.const 0") + &data(&near))), 0);
        let far = format!("i32.const {SPARSE_IMAGE_BYTES}");
        assert_eq!(copied(own, &(data("i32.const 0") + &data(&far))), 16);
    }

    #[test]
    fn declarations_are_counted_in_all_modules_and_components() {
        let refused = |inside: &str| unit_of(survey_text(&format!("(component {inside})")));
        let module = |inside: &str| refused(&format!("(core module {inside})"));
        let exports = |first: u64, count: u64| -> String {
            let export = |i: u64| format!("(export \"{i}\" (global 0))");
            (first..first + count).map(export).collect()
        };
        let global = "(global i32 (i32.const 0))";
        let count = MAX_DECLARATIONS + 1;
        let many = |one: &str| one.repeat(usize::try_from(count).unwrap());
        assert!(module(&format!("{global} {}", exports(0, count))).starts_with("types, imports"));
        assert!(module(&many(global)).starts_with("types, imports"));
        assert!(module(&many("(type (func))")).starts_with("types, imports"));
        assert!(module(&many("(import \"\" \"\" (func))")).starts_with("types, imports"));

        // Also if no module alone has as many, and none is instantiated.
        let half = format!("(core module {global} {})", exports(0, count / 2));
        assert!(survey_text(&format!("(component {half})")).is_ok());
        let nested = format!("(component {half} (component {half}))");
        assert!(unit_of(survey_text(&nested)).starts_with("types, imports"));

        // Each instance of a component has its items.
        let inner = format!(
            "(component $c (import \"f\" (func $f)) {})",
            "(core func (canon lower (func $f)))".repeat(20_000)
        );
        let instances = "(instance (instantiate $c (with \"f\" (func $f))))".repeat(10);
        let outer = format!("(import \"f\" (func $f)) {inner} {instances}");
        assert!(refused(&outer).starts_with("imports, aliases"));
    }

    #[test]
    fn modules_and_components_are_counted_even_if_none_is_instantiated() {
        let parts = |count: usize| {
            let half = count / 2;
            let (modules, components) = ("(core module)".repeat(half), "(component)".repeat(half));
            survey_text(&format!("(component (component {modules}) {components})"))
        };
        assert!(parts(998).is_ok());
        assert_eq!(unit_of(parts(1_000)), "modules and components");
    }

    #[test]
    fn bytes_of_declarations_elements_and_data_segments_are_counted() {
        let module =
            |inside: &str| unit_of(survey_text(&format!("(component (core module {inside}))")));
        let long = "x".repeat(30_000);
        let names: String = (0..80)
            .map(|i| format!("(export \"{i}{long}\" (global 0))"))
            .collect();
        let exports = format!("(global i32 (i32.const 0)) {names}");
        assert!(module(&exports).starts_with("bytes of types"));
        let parameters = "i32 ".repeat(900);
        let types: String = (0..3_000)
            .map(|_| format!("(type (func (param {parameters})))"))
            .collect();
        assert!(module(&types).starts_with("bytes of types"));

        let elements = format!(
            "(core module (func $f) (elem func {}))",
            "$f ".repeat(60_000)
        );
        let twice = format!("(component {elements} {elements})");
        assert_eq!(unit_of(survey_text(&twice)), "elements in segments");
        let empty = "(data \"\")".repeat(90_000);
        let modules = format!("(core module {empty})").repeat(3);
        let segments = format!("(component {modules})");
        assert_eq!(unit_of(survey_text(&segments)), "data segments");
    }

    #[test]
    fn tables_of_all_instances_are_added_up() {
        let facts = survey_text(
            "(component (core module $m (table 100 funcref) (table 20 funcref))
                (core instance (instantiate $m)) (core instance (instantiate $m)))",
        )
        .unwrap();
        assert_eq!((facts.table_elements, facts.all_table_elements), (100, 240));
    }

    #[test]
    fn names_are_escaped_cut_and_few() {
        let escapes = "(component (import \"url=<https://x/\\1b[2J\\0aINFO forged>\" (func)))";
        let facts = survey_text(escapes).unwrap();
        assert_eq!(facts.imports, ["url=<https://x/\\u{1b}[2J\\nINFO forged>"]);
        let many: String = (0..3_000)
            .map(|i| format!("(export \"e{i}\" (type $t))"))
            .collect();
        let many = format!("(component (type $t (record (field \"a\" u32))) {many})");
        assert_eq!(unit_of(survey_text(&many)), "exports");
    }

    #[test]
    fn custom_sections_do_not_count() {
        let plain = survey_text("(component)").unwrap();
        let named = format!("(component (@custom \"debug\" \"{}\"))", "x".repeat(5_000));
        assert!(survey_text(&named).unwrap().code_bytes < plain.code_bytes + 20);
    }

    #[test]
    fn nesting_is_bounded_and_rubbish_is_refused() {
        let nested = |depth: usize| format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
        assert!(survey_text(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(
            survey_text(&nested(MAX_DEPTH + 2)),
            Err(Unloadable::TooDeep { limit: MAX_DEPTH })
        );
        assert!(survey(b"\0asm\x0d\0\x01\0\x01\xff").is_err());
    }
}
