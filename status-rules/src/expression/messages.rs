//! Messages about what went wrong in an expression. Values are named by their type: the messages of `cel` would print the
//! whole object, which may be large, and secret.

use cel::{ExecutionError, ParseErrors, Value};

/// Names an expression of a rule.
pub(super) fn location(name: &str, text: &str) -> String {
    format!(
        "{name} (`{}`)",
        shortened(&one_line(text), SHOWN_EXPRESSION)
    )
}

/// What the parser found, with line and column.
pub(super) fn parse_errors(errors: &ParseErrors) -> String {
    let mut found: Vec<String> = errors
        .errors
        .iter()
        .take(SHOWN_ERRORS)
        .map(|error| match error.pos {
            (0, 0) => error.msg.clone(),
            (line, column) => format!("{} at {line}:{column}", error.msg),
        })
        .collect();
    if errors.errors.len() > SHOWN_ERRORS {
        found.push(format!("and {} more", errors.errors.len() - SHOWN_ERRORS));
    }
    found.join("; ")
}

/// What failed while an expression ran.
pub(super) fn explain(error: &ExecutionError) -> String {
    use ExecutionError as E;
    let kind = |value: &Value| value.type_of().to_string();
    match error {
        E::NoSuchKey(key) => {
            format!("no such key `{key}`; ask `has()` first, or use `.?` and `orValue()`")
        }
        E::UndeclaredReference(name) => format!("there is no function or variable `{name}`"),
        E::NoSuchOverload(overload) => overload.to_string(),
        E::FunctionError { function, message } => {
            format!(
                "{}: {}",
                function.trim_start_matches('@'),
                one_line(message)
            )
        }
        E::UnexpectedType { got, want } => format!("got {got} where {want} is needed"),
        E::InvalidArgumentCount { expected, actual } => {
            format!("{actual} arguments given to a function of {expected}")
        }
        E::UnsupportedTargetType { target } => {
            format!("a {} is no argument of that function", kind(target))
        }
        E::NotSupportedAsMethod { method, target } => {
            format!("{method}() is no method of a {}", kind(target))
        }
        E::UnsupportedKeyType(key) => format!("a {} cannot be a key", kind(key)),
        E::ValuesNotComparable(left, right) => {
            format!("a {} cannot be compared to a {}", kind(left), kind(right))
        }
        E::UnsupportedBinaryOperator(operator, left, right) => {
            format!(
                "`{}` is not defined for {} and {}",
                symbol(operator),
                kind(left),
                kind(right)
            )
        }
        E::UnsupportedIndex(index, value) => {
            format!("a {} cannot be indexed by a {}", kind(value), kind(index))
        }
        E::IndexOutOfBounds(Value::Int(index)) => format!("index {index} is out of bounds"),
        E::IndexOutOfBounds(_) => "an index is out of bounds".into(),
        E::DivisionByZero(_) => "division by zero".into(),
        E::RemainderByZero(_) => "remainder of a division by zero".into(),
        E::Overflow(operator, ..) => format!("the result of `{}` is too large", symbol(operator)),
        E::DuplicateKey(_) => "a map has the same key twice".into(),
        E::MissingArgumentOrTarget => "a function lacks an argument".into(),
        _ => "the evaluator gave up".into(),
    }
}

/// A message no longer than a condition may hold.
pub(super) fn clipped(message: &str) -> String {
    shortened(message, LONGEST_MESSAGE)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

// The name that `cel` gives an operator, as it is written.
fn symbol(operator: &str) -> &str {
    match operator {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        other => other,
    }
}

fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.into();
    }
    let end = text.floor_char_boundary(limit);
    format!("{}…", &text[..end])
}

const SHOWN_EXPRESSION: usize = 120;
const SHOWN_ERRORS: usize = 3;
// Kubernetes allows 32 KiB, but the conditions of all manifests of a work travel in one message of MQTT.
const LONGEST_MESSAGE: usize = 4 * 1024;
