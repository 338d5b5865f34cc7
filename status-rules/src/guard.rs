//! Refuses the texts of expressions that the parser cannot be trusted with: it descends recursively, one level per
//! operator of a chain, and nothing catches a stack that overflows.

/// Checks an expression before it is parsed.
///
/// # Errors
/// A phrase that says what is too much.
pub(super) fn check(expression: &str) -> Result<(), String> {
    if expression.len() > MAX_BYTES {
        return Err(format!(
            "is {} bytes long, more than {MAX_BYTES}",
            expression.len()
        ));
    }
    // Texts in quotes and names that hold `in` count too: telling them apart would need the parser's own lexer.
    let operators = expression
        .bytes()
        .filter(|byte| OPERATORS.contains(byte))
        .count()
        + expression.matches("in").count();
    if operators > MAX_OPERATORS {
        return Err(format!(
            "has {operators} operators, dots and brackets, more than {MAX_OPERATORS}"
        ));
    }
    Ok(())
}

/// Checks the depth of the syntax before it is walked.
///
/// # Errors
/// A phrase that says what is too much.
pub(super) fn check_depth(depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nests {depth} levels deep, more than {MAX_DEPTH}"));
    }
    Ok(())
}

const OPERATORS: &[u8] = b".+-*/%!<>=&|?:[({";
const MAX_BYTES: usize = 16 * 1024;
// The largest real rules have some dozens. Measured: this many levels fit several times into the 2 MiB of a worker.
const MAX_OPERATORS: usize = 500;
const MAX_DEPTH: usize = 200;
