//! Which index everything of one member has in the linked module.

use super::core_module::Counts;
use super::kinds::PerKind;
use std::collections::HashMap;
use std::convert::Infallible;
use wasm_encoder::Instruction;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasmparser::Operator;

/// One index space of a member: what it imports, then its own.
#[derive(Default)]
pub(super) struct Space {
    pub(super) imported: Vec<u32>,
    first: u32,
}

impl Space {
    pub(super) fn at(&self, index: u32) -> u32 {
        let own = || self.first + index - self.imports();
        self.imported
            .get(index as usize)
            .copied()
            .unwrap_or_else(own)
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
    pub(super) core: PerKind<Space>,
    elements: u32,
    data: u32,
    /// Globals of the linked module that never change, by their index in it: where the libraries of
    /// a shared memory begin. A constant may name one that is imported, but not one of the module's
    /// own, so it has the number instead.
    pub(super) constants: HashMap<u32, i32>,
}

impl Renumber {
    /// For a member of which only the types are used.
    pub(super) fn of_types(types: u32) -> Self {
        Self {
            types,
            ..Self::default()
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
        self.core.functions.first = place(&mut there.core.functions, own.core.functions);
        self.core.tables.first = place(&mut there.core.tables, own.core.tables);
        self.core.memories.first = place(&mut there.core.memories, own.core.memories);
        self.core.globals.first = place(&mut there.core.globals, own.core.globals);
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
        Ok(self.core.functions.at(index))
    }

    fn table_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.core.tables.at(index))
    }

    fn memory_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.core.memories.at(index))
    }

    fn global_index(&mut self, index: u32) -> Renumbered<u32> {
        Ok(self.core.globals.at(index))
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
                let index = self.core.globals.at(global_index);
                let constant = self.constants.get(&index);
                Ok(constant.map_or(Instruction::GlobalGet(index), |value| {
                    Instruction::I32Const(*value)
                }))
            }
            operator => utils::instruction(self, operator),
        }
    }
}
