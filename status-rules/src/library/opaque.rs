//! Values of types that the crate does not know: it carries them, and leaves their equality, order and arithmetic to
//! them.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt::Debug;

use cel::ExecutionError;
use cel::common::traits::{Adder, Comparer, Subtractor};
use cel::common::types::Type;
use cel::common::value::{CowVal, StaticVal, Val};

use super::Result;

/// A Rust type that is the content of a CEL value. What it does not define is an error in CEL.
pub(super) trait Content: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Its type in CEL, named as in Kubernetes.
    fn kind() -> &'static Type;

    /// `self < other`, for types with an order.
    fn order(&self, _other: &Self) -> Option<Ordering> {
        None
    }

    /// `self + other`.
    fn plus(&self, _other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        None
    }

    /// `self - other`.
    fn minus(&self, _other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        None
    }
}

/// A CEL value holding a `T`.
#[derive(Clone, Debug)]
pub(super) struct Opaque<T>(pub(super) T);

// === impl Opaque ===

impl<T: Content> Val for Opaque<T> {
    fn get_type(&self) -> &Type {
        T::kind()
    }

    fn cel_type() -> &'static Type {
        T::kind()
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)> {
        Some(self)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other
            .downcast_ref::<Self>()
            .is_some_and(|other| self.0 == other.0)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl<T: Content> StaticVal for Opaque<T> {}

impl<T: Content> Comparer for Opaque<T> {
    fn compare(&self, other: &dyn Val) -> Result<Ordering> {
        other
            .downcast_ref::<Self>()
            .and_then(|other| self.0.order(&other.0))
            .ok_or_else(|| undefined("compare", self, other))
    }
}

impl<T: Content> Adder for Opaque<T> {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>>
    where
        Self: 'v,
    {
        let sum = self.0.plus(other);
        sum.unwrap_or_else(|| Err(undefined("_+_", self, other)))
            .map(CowVal::Owned)
    }
}

impl<T: Content> Subtractor for Opaque<T> {
    fn sub<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>>
    where
        Self: 'v,
    {
        let difference = self.0.minus(other);
        difference
            .unwrap_or_else(|| Err(undefined("_-_", self, other)))
            .map(CowVal::Owned)
    }
}

fn undefined(operator: &str, left: &dyn Val, right: &dyn Val) -> ExecutionError {
    let types = [left, right].map(|side| side.get_type().name().to_owned());
    ExecutionError::no_such_overload(operator, types.into())
}
