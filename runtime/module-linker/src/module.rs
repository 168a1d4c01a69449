//! Makes one core module of several: their index spaces one after the other, their imports of each
//! other gone.

use super::NotLinked;
use super::core_module::{Counts, Module};
use super::kinds::{PerKind, kind_of};
use super::layout::{Definition, Item, Layout, needs};
use super::plan::Plan;
use super::renumber::Renumber;
use std::collections::HashMap;
use wasm_encoder::reencode::Reencode;
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, ExportSection, FunctionSection,
    GlobalSection, ImportSection, MemorySection, NameMap, NameSection, TableSection, TypeSection,
};
use wasmparser::{
    ExternalKind, Global, KnownCustom, Name, NameSectionReader, Operator, Parser, Payload,
};

/// The module name of all that the linked module still imports.
pub(super) const HOST: &str = "host";

/// The module that the members were linked into.
pub(super) struct Linked<'a> {
    pub(super) bytes: Vec<u8>,
    /// What it imports from [`HOST`], under the names 0, 1 and so on.
    pub(super) imports: Vec<(ExternalKind, Definition<'a>)>,
    /// The names under which it exports what its members exported.
    pub(super) exports: HashMap<Definition<'a>, String>,
}

/// Links the members of a plan.
pub(super) fn link<'a>(layout: &Layout<'a>, plan: &Plan) -> Result<Linked<'a>, NotLinked> {
    let mut linker = Linker {
        layout,
        plan,
        sections: Sections::default(),
        imports: Vec::new(),
        members: HashMap::new(),
    };

    let imported = linker.import()?;
    linker.number(&imported)?;
    let exports = linker.export()?;
    linker.fill()?;

    Ok(Linked {
        bytes: linker.sections.finish(),
        imports: linker.imports,
        exports,
    })
}

struct Linker<'l, 'a> {
    layout: &'l Layout<'a>,
    plan: &'l Plan,
    sections: Sections,
    imports: Vec<(ExternalKind, Definition<'a>)>,
    /// The new numbers of each member, by the index of its instance.
    members: HashMap<u32, Renumber>,
}

/// Which index each import has in the linked module, and how many of each kind there are.
#[derive(Default)]
struct Imported<'a> {
    indices: HashMap<Definition<'a>, u32>,
    counts: PerKind<u32>,
}

impl<'a> Linker<'_, 'a> {
    /// Imports come first in every index space.
    fn import(&mut self) -> Result<Imported<'a>, NotLinked> {
        let mut imported = Imported::default();
        let mut types = 0;
        for member in &self.plan.members {
            for (import, definition) in self.layout.imports_of(*member)? {
                if self.plan.is_from_member(definition)
                    || imported.indices.contains_key(&definition)
                {
                    continue;
                }
                let ty = Renumber::of_types(types).entity_type(import.ty)?;
                self.sections
                    .imports
                    .import(HOST, &self.imports.len().to_string(), ty);
                self.imports.push((kind_of(&import), definition));
                let count = imported.counts.of_mut(kind_of(&import))?;
                imported.indices.insert(definition, *count);
                *count += 1;
            }
            types += self.layout.module_of(*member)?.counts.types;
        }

        Ok(imported)
    }

    fn number(&mut self, imported: &Imported<'a>) -> Result<(), NotLinked> {
        let mut there = Counts {
            core: imported.counts,
            ..Counts::default()
        };
        for member in &self.plan.members {
            let mut indices = Renumber::default();
            for (import, definition) in self.layout.imports_of(*member)? {
                let index = match imported.indices.get(&definition) {
                    Some(index) => *index,
                    None => self.index_of(definition)?,
                };
                indices.core.of_mut(kind_of(&import))?.imported.push(index);
            }
            indices.begin(&mut there, &self.layout.module_of(*member)?.counts);
            self.members.insert(*member, indices);
        }

        Ok(())
    }

    /// Returns the index of what a member exports.
    fn index_of(&self, definition: Definition<'a>) -> Result<u32, NotLinked> {
        let Definition::Export { instance, name } = definition else {
            return Err(NotLinked::Dangling);
        };
        let exports = &self.layout.module_of(instance)?.exports;
        let (kind, index) = *exports.get(name).ok_or(NotLinked::Dangling)?;
        let member = self.members.get(&instance).ok_or(NotLinked::Dangling)?;
        Ok(member.core.of(kind)?.at(index))
    }

    /// Exports that non-members use of the members.
    fn export(&mut self) -> Result<HashMap<Definition<'a>, String>, NotLinked> {
        let mut exports = HashMap::new();
        for (kind, definition) in self.wanted()? {
            if self.plan.is_from_member(definition) && !exports.contains_key(&definition) {
                let name = exports.len().to_string();
                self.sections
                    .exports
                    .export(&name, kind.into(), self.index_of(definition)?);
                exports.insert(definition, name);
            }
        }
        Ok(exports)
    }

    fn wanted(&self) -> Result<Vec<(ExternalKind, Definition<'a>)>, NotLinked> {
        let mut wanted = Vec::new();
        for item in &self.layout.items {
            match item {
                Item::Lower { function, .. } | Item::Lift(function) => {
                    for (kind, index) in needs(function) {
                        wanted.push((kind, self.layout.definition(kind, index)?));
                    }
                }
                Item::Instantiate(instance) if !self.plan.is_member(*instance) => {
                    let imports = self.layout.imports_of(*instance)?;
                    wanted.extend(
                        imports
                            .iter()
                            .map(|(import, definition)| (kind_of(import), *definition)),
                    );
                }
                _ => {}
            }
        }

        Ok(wanted)
    }

    fn fill(&mut self) -> Result<(), NotLinked> {
        let mut constants = HashMap::new();
        for member in &self.plan.members {
            let mut indices = self.members.remove(member).ok_or(NotLinked::Dangling)?;
            indices.constants = constants;
            self.sections
                .add(self.layout.module_of(*member)?, &mut indices)?;
            constants = indices.constants;
        }
        Ok(())
    }
}

/// The sections of the linked module as they grow.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    function_names: NameMap,
    /// The size of the largest member in bytes, and its name.
    name: (usize, String),
}

impl Sections {
    fn add(&mut self, module: &Module<'_>, indices: &mut Renumber) -> Result<(), NotLinked> {
        for payload in Parser::new(0).parse_all(module.bytes) {
            match payload? {
                Payload::TypeSection(section) => {
                    indices.parse_type_section(&mut self.types, section)?;
                }
                Payload::FunctionSection(section) => {
                    indices.parse_function_section(&mut self.functions, section)?;
                }
                Payload::TableSection(section) => {
                    indices.parse_table_section(&mut self.tables, section)?;
                }
                Payload::MemorySection(section) => {
                    indices.parse_memory_section(&mut self.memories, section)?;
                }
                Payload::GlobalSection(section) => {
                    for (global, own) in section.into_iter().zip(indices.core.globals.imports()..) {
                        self.global(indices.core.globals.at(own), global?, indices)?;
                    }
                }
                Payload::ElementSection(section) => {
                    indices.parse_element_section(&mut self.elements, section)?;
                }
                Payload::CodeSectionEntry(body) => {
                    indices.parse_function_body(&mut self.code, body)?;
                }
                Payload::DataSection(section) => {
                    indices.parse_data_section(&mut self.data, section)?;
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(section) = section.as_known() {
                        self.names(section, module, indices)?;
                    }
                }
                _ => {}
            }
        }

        Ok(())
    }

    fn global(
        &mut self,
        index: u32,
        global: Global<'_>,
        indices: &mut Renumber,
    ) -> Result<(), NotLinked> {
        let mut operators = global.init_expr.get_operators_reader();
        if !global.ty.mutable
            && let Operator::I32Const { value } = operators.read()?
            && operators.is_end_then_eof()
        {
            indices.constants.insert(index, value);
        }
        Ok(indices.parse_global(&mut self.globals, global)?)
    }

    fn names(
        &mut self,
        section: NameSectionReader<'_>,
        module: &Module<'_>,
        indices: &Renumber,
    ) -> Result<(), NotLinked> {
        for name in section {
            match name? {
                Name::Module { name, .. } if module.bytes.len() > self.name.0 => {
                    self.name = (module.bytes.len(), name.to_owned());
                }
                Name::Function(names) => {
                    let imports = indices.core.functions.imports();
                    let own = imports..imports + module.counts.core.functions;
                    for name in names {
                        let name = name?;
                        if own.contains(&name.index) {
                            self.function_names
                                .append(indices.core.functions.at(name.index), name.name);
                        }
                    }
                }
                _ => {}
            }
        }

        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        let mut names = NameSection::new();
        if !self.name.1.is_empty() {
            names.module(&self.name.1);
        }

        names.functions(&self.function_names);
        let mut module = wasm_encoder::Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&self.exports)
            .section(&self.elements)
            .section(&DataCountSection {
                count: self.data.len(),
            })
            .section(&self.code)
            .section(&self.data)
            .section(&names);

        module.finish()
    }
}
