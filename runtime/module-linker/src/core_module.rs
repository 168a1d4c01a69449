//! What a core module has, as far as others are concerned.

use super::NotLinked;
use super::kinds::PerKind;
use std::collections::{HashMap, HashSet};
use wasmparser::{DataKind, ElementKind, ExternalKind, Import, Parser, Payload, TypeRef};

/// A core module, as far as linking needs it.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) imports: Vec<Import<'a>>,
    pub(super) exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub(super) counts: Counts,
    pub(super) has_start: bool,
    /// What its segments write when it is instantiated.
    pub(super) written: HashSet<Place>,
    pub(super) imported_tables: Vec<Import<'a>>,
    pub(super) imported_memories: Vec<Import<'a>>,
    /// The size of its import section.
    pub(super) import_bytes: usize,
}

/// A table or a memory, by its index in a module.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Table(u32),
    Memory(u32),
}

/// How many a module defines itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) types: u32,
    pub(super) core: PerKind<u32>,
    pub(super) elements: u32,
    pub(super) data: u32,
}

impl<'a> Module<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, NotLinked> {
        let mut module = Self {
            bytes,
            ..Self::default()
        };
        for payload in Parser::new(0).parse_all(bytes) {
            module.section(payload?)?;
        }
        Ok(module)
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), NotLinked> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.counts.types += group?.types().count() as u32;
                }
            }
            Payload::ImportSection(section) => {
                self.import_bytes = section.range().len();
                for import in section.into_imports() {
                    self.import(import?);
                }
            }
            Payload::FunctionSection(section) => self.counts.core.functions = section.count(),
            Payload::TableSection(section) => self.counts.core.tables = section.count(),
            Payload::MemorySection(section) => self.counts.core.memories = section.count(),
            Payload::GlobalSection(section) => self.counts.core.globals = section.count(),
            Payload::TagSection(_) => return Err(NotLinked::Unknown("an exception")),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports
                        .insert(export.name, (export.kind, export.index));
                }
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::ElementSection(section) => {
                self.counts.elements = section.count();
                for element in section {
                    if let ElementKind::Active { table_index, .. } = element?.kind {
                        self.written.insert(Place::Table(table_index.unwrap_or(0)));
                    }
                }
            }
            Payload::DataSection(section) => {
                self.counts.data = section.count();
                for data in section {
                    if let DataKind::Active { memory_index, .. } = data?.kind {
                        self.written.insert(Place::Memory(memory_index));
                    }
                }
            }
            _ => {}
        }

        Ok(())
    }

    fn import(&mut self, import: Import<'a>) {
        match import.ty {
            TypeRef::Table(_) => self.imported_tables.push(import),
            TypeRef::Memory(_) => self.imported_memories.push(import),
            _ => {}
        }
        self.imports.push(import);
    }
}
