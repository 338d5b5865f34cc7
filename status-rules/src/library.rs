//! The functions of condition rules: the standard library of CEL with optionals, the strings and lists extensions, and
//! the libraries Kubernetes adds. Missing are `find` and `findAll` of regular expressions (`matches` is there), which
//! need more of the regex crate than `cel` shows, and comprehensions over two variables, which `cel` does not have.
//! Calling what is missing is an expression error that names the function.

use cel::common::types::{CelInt, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError, extensions};

use super::meter;

mod cidr;
mod conditions;
mod format;
mod ip;
mod lists;
mod opaque;
mod quantity;
mod semver;
mod sets;
mod strings;
mod time;
mod url;

/// The environment that expressions are compiled and run in.
///
/// # Errors
/// When two libraries declare the same function, which is a mistake of ours.
pub(super) fn environment() -> std::result::Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    for library in [
        meter::declare,
        extensions::strings,
        extensions::lists,
        extensions::math,
        conditions::declare,
        strings::declare,
        lists::declare,
        sets::declare,
        time::declare,
        quantity::declare,
        ip::declare,
        cidr::declare,
        url::declare,
        format::declare,
        semver::declare,
    ] {
        env.add_extension(library)?;
    }
    Ok(env)
}

/// Functions whose cost or result is not in proportion to their arguments, the metered one that is called in their
/// stead (with the meter as its first argument), and the numbers of arguments, receiver included, it is called for.
pub(super) const METERED: [(&str, &str, &[usize]); 10] = [
    ("replace", "@replace", &[3, 4]),
    ("join", "@join", &[1, 2]),
    ("split", "@split", &[2, 3]),
    ("indexOf", "@indexOf", &[2, 3]),
    ("lastIndexOf", "@lastIndexOf", &[2, 3]),
    ("distinct", "@distinct", &[1]),
    ("lists.range", "@range", &[1]),
    ("sets.contains", "@sets.contains", &[2]),
    ("sets.equivalent", "@sets.equivalent", &[2]),
    ("sets.intersects", "@sets.intersects", &[2]),
];

/// Whether `namespace.function` names a function, rather than a method of a variable called as the namespace is:
/// `ip.isCanonical(text)`, but not `addresses.all(ip, ip.contains(":"))`.
pub(super) fn is_qualified(namespace: &str, function: &str) -> bool {
    match namespace {
        "format" => format::is_function(function),
        "ip" => function == "isCanonical",
        "lists" => function == "range",
        "math" => MATH.contains(&function),
        "optional" => matches!(function, "none" | "of" | "ofNonZeroValue"),
        "sets" => matches!(function, "contains" | "equivalent" | "intersects"),
        "strings" => function == "quote",
        _ => false,
    }
}

const MATH: [&str; 16] = [
    "abs",
    "bitAnd",
    "bitNot",
    "bitOr",
    "bitShiftLeft",
    "bitShiftRight",
    "bitXor",
    "ceil",
    "floor",
    "isFinite",
    "isInf",
    "isNaN",
    "round",
    "sign",
    "sqrt",
    "trunc",
];

// What every library returns that declares its functions.
type Declared = std::result::Result<(), DeclarationError>;

// What every function returns.
type Result<T> = std::result::Result<T, ExecutionError>;

// An argument of a function declared for any type.
fn arg<'a, T: Val + StaticVal>(
    args: &'a [CowVal<'_, '_>],
    at: usize,
    function: &str,
) -> Result<&'a T> {
    let value = args
        .get(at)
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    value
        .downcast_ref::<T>()
        .ok_or_else(|| unfit(function, value.as_ref(), T::cel_type()))
}

fn text<'a>(args: &'a [CowVal<'_, '_>], at: usize, function: &str) -> Result<&'a str> {
    let value = args
        .get(at)
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    value
        .downcast_ref::<CelString>()
        .map(CelString::inner)
        .ok_or_else(|| unfit(function, value.as_ref(), <CelString as Val>::cel_type()))
}

fn integer(args: &[CowVal<'_, '_>], at: usize, function: &str) -> Result<i64> {
    arg::<CelInt>(args, at, function).map(|value| *value.inner())
}

fn unfit(function: &str, value: &dyn Val, want: &Type) -> ExecutionError {
    fails(
        function,
        &format!(
            "got {} where {} is needed",
            value.get_type().name(),
            want.name()
        ),
    )
}

fn fails(function: &str, problem: &str) -> ExecutionError {
    ExecutionError::function_error(function, problem)
}

#[cfg(test)]
mod tests;
