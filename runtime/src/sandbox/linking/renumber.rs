//! Which index everything of one member has in the linked module.

use super::NotLinked;
use super::layout::Counts;
use std::collections::HashMap;
use std::convert::Infallible;
use wasm_encoder::Instruction;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasmparser::{ExternalKind, Operator};

/// One index space of a member: what it imports, then its own.
#[derive(Default)]
pub(super) struct Space {
    pub(super) imported: Vec<u32>,
    first: u32,
}

impl Space {
    pub(super) fn at(&self, index: u32) -> u32 {
        let own = || self.first + index - self.imports();
        self.imported.get(index as usize).copied().unwrap_or_else(own)
    }

    /// How many of the indices are of imports.
    pub(super) fn imports(&self) -> u32 {
        self.imported.len() as u32
    }
}

/// All index spaces of a member.
#[derive(Default)]
pub(super) struct Renumber {
    types: u32,
    pub(super) functions: Space,
    tables: Space,
    memories: Space,
    pub(super) globals: Space,
    elements: u32,
    data: u32,
    /// Globals of the linked module that never change, by their index in it: where the libraries of a shared memory
    /// begin. A constant may name one that is imported, but not one of the module's own, so it has the number instead.
    pub(super) constants: HashMap<u32, i32>,
}

impl Renumber {
    /// For a member of whom nothing but its types is asked.
    pub(super) fn of_types(types: u32) -> Self {
        Self { types, ..Self::default() }
    }

    pub(super) fn space(&mut self, kind: ExternalKind) -> Result<&mut Space, NotLinked> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Ok(&mut self.functions),
            ExternalKind::Table => Ok(&mut self.tables),
            ExternalKind::Memory => Ok(&mut self.memories),
            ExternalKind::Global => Ok(&mut self.globals),
            ExternalKind::Tag => Err(NotLinked::Unknown("an exception")),
        }
    }

    pub(super) fn at(&self, kind: ExternalKind, index: u32) -> Result<u32, NotLinked> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Ok(self.functions.at(index)),
            ExternalKind::Table => Ok(self.tables.at(index)),
            ExternalKind::Memory => Ok(self.memories.at(index)),
            ExternalKind::Global => Ok(self.globals.at(index)),
            ExternalKind::Tag => Err(NotLinked::Unknown("an exception")),
        }
    }

    /// What the member defines comes after all that is there already.
    pub(super) fn begin(&mut self, there: &mut Counts, own: &Counts) {
        let place = |there: &mut u32, own: u32| {
            let first = *there;
            *there += own;
            first
        };
        self.types = place(&mut there.types, own.types);
        self.functions.first = place(&mut there.functions, own.functions);
        self.tables.first = place(&mut there.tables, own.tables);
        self.memories.first = place(&mut there.memories, own.memories);
        self.globals.first = place(&mut there.globals, own.globals);
        self.elements = place(&mut there.elements, own.elements);
        self.data = place(&mut there.data, own.data);
    }
}

type Renumbered<T> = Result<T, Error<Infallible>>;

impl Reencode for Renumber {
    type Error = Infallible;

    fn type_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.types + index)
    }

    fn function_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.functions.at(index))
    }

    fn table_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.tables.at(index))
    }

    fn memory_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.memories.at(index))
    }

    fn global_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.globals.at(index))
    }

    fn element_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.elements + index)
    }

    fn data_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.data + index)
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Renumbered<Instruction<'a>> {
        match operator {
            Operator::GlobalGet { global_index } => {
                let index = self.globals.at(global_index);
                let constant = self.constants.get(&index);
                Ok(constant.map_or(Instruction::GlobalGet(index), |value| Instruction::I32Const(*value)))
            }
            operator => utils::instruction(self, operator),
        }
    }
}
