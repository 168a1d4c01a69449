//! The kinds of things that core modules give each other.

use super::NotLinked;
use wasmparser::{ExternalKind, Import, TypeRef};

/// One of something for each kind.
#[derive(Clone, Copy, Default)]
pub(super) struct PerKind<T> {
    pub(super) functions: T,
    pub(super) tables: T,
    pub(super) memories: T,
    pub(super) globals: T,
}

impl<T> PerKind<T> {
    pub(super) fn of(&self, kind: ExternalKind) -> Result<&T, NotLinked> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Ok(&self.functions),
            ExternalKind::Table => Ok(&self.tables),
            ExternalKind::Memory => Ok(&self.memories),
            ExternalKind::Global => Ok(&self.globals),
            ExternalKind::Tag => Err(NotLinked::Unknown("an exception")),
        }
    }

    pub(super) fn of_mut(&mut self, kind: ExternalKind) -> Result<&mut T, NotLinked> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Ok(&mut self.functions),
            ExternalKind::Table => Ok(&mut self.tables),
            ExternalKind::Memory => Ok(&mut self.memories),
            ExternalKind::Global => Ok(&mut self.globals),
            ExternalKind::Tag => Err(NotLinked::Unknown("an exception")),
        }
    }
}

/// Returns the kind of an import.
pub(super) fn kind_of(import: &Import<'_>) -> ExternalKind {
    match import.ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => ExternalKind::Func,
        TypeRef::Table(_) => ExternalKind::Table,
        TypeRef::Memory(_) => ExternalKind::Memory,
        TypeRef::Global(_) => ExternalKind::Global,
        TypeRef::Tag(_) => ExternalKind::Tag,
    }
}
