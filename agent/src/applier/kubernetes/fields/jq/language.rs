//! The part of jq in which fields may be named, checked on the parsed expression.
//!
//! Allowed are paths, `..`, `|`, `,`, comparisons, `and`/`or`, `if`, literals and [`FUNCTIONS`]. Everything that
//! binds, defines, folds, computes, builds values or reaches outside is refused by not being on the list.

use jaq_core::load::lex::{Lexer, StrPart};
use jaq_core::load::parse::{BinaryOp, Parser, Term};
use jaq_core::path::{Part, Path};

/// Reads an expression and puts [`TICK`] behind everything in it that may yield more than one value.
///
/// # Errors
/// A phrase that says what is not jq or not allowed.
pub(super) fn read(expression: &str) -> Result<Term<&str>, String> {
    if expression.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    if nesting(expression) > MAX_NESTING {
        return Err(format!("is nested more than {MAX_NESTING} deep"));
    }
    let tokens = Lexer::new(expression)
        .lex()
        .map_err(|errors| unreadable(errors.first().map(|(_, at)| *at)))?;
    let term = Parser::new(&tokens).parse(|parser| parser.term());
    let term = term
        .map_err(|errors| unreadable(errors.first().and_then(|(_, at)| at.map(|token| token.0))))?;
    admit(term)
}

fn admit(term: Term<&str>) -> Result<Term<&str>, String> {
    let boxed = |term: Box<Term<_>>| admit(*term).map(Box::new);
    Ok(match term {
        Term::Recurse => metered(term),
        Term::BinOp(left, op, right) => {
            if let Some(refused) = refused_operator(&op) {
                return refuse(refused);
            }
            let generates = matches!(op, BinaryOp::Comma);
            let both = Term::BinOp(boxed(left)?, op, boxed(right)?);
            if generates { metered(both) } else { both }
        }
        Term::IfThenElse(cases, otherwise) => Term::IfThenElse(
            cases
                .into_iter()
                .map(|(condition, then)| Ok((admit(condition)?, admit(then)?)))
                .collect::<Result<_, String>>()?,
            otherwise.map(boxed).transpose()?,
        ),
        Term::Call(name, args) => {
            if !FUNCTIONS.contains(&(name, args.len())) {
                return refuse(&format!("the function `{name}/{}`", args.len()));
            }
            Term::Call(name, args.into_iter().map(admit).collect::<Result<_, _>>()?)
        }
        Term::Path(head, Path(parts)) => {
            let iterates = parts
                .iter()
                .any(|(part, _)| matches!(part, Part::Range(None, None)));
            let parts = parts
                .into_iter()
                .map(|(part, optional)| Ok((admit_part(part)?, optional)))
                .collect::<Result<_, String>>()?;
            let path = Term::Path(boxed(head)?, Path(parts));
            if iterates { metered(path) } else { path }
        }
        constant if is_constant(&constant) => constant,
        Term::Id => term,
        Term::Neg(_) => return refuse("`-`"),
        Term::Str(..) => return refuse("a string with a format or with `\\(…)`"),
        Term::Arr(_) | Term::Obj(_) => return refuse("an array or object that is no constant"),
        Term::Label(..) | Term::Break(_) => return refuse("`label`"),
        Term::Fold(name, ..) => return refuse(&format!("`{name}`")),
        Term::TryCatch(..) => return refuse("`try` or `?` behind anything but a step"),
        Term::Def(..) => return refuse("`def`"),
        Term::Var(name) => return refuse(&format!("the variable `{name}`")),
        Term::Num(_) => term,
    })
}

fn admit_part(part: Part<Term<&str>>) -> Result<Part<Term<&str>>, String> {
    Ok(match part {
        Part::Index(index) => Part::Index(admit(index)?),
        Part::Range(from, upto) => {
            Part::Range(from.map(admit).transpose()?, upto.map(admit).transpose()?)
        }
    })
}

fn is_constant(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) | Term::Arr(None) => true,
        Term::Neg(inner) => matches!(**inner, Term::Num(_)),
        Term::Str(None, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        Term::Arr(Some(items)) => is_list(items),
        _ => false,
    }
}

fn is_list(items: &Term<&str>) -> bool {
    match items {
        Term::BinOp(left, BinaryOp::Comma, right) => is_list(left) && is_constant(right),
        other => is_constant(other),
    }
}

fn refused_operator(op: &BinaryOp<&str>) -> Option<&'static str> {
    match op {
        BinaryOp::Pipe(None)
        | BinaryOp::Comma
        | BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Cmp(_) => None,
        BinaryOp::Pipe(Some(_)) => Some("a variable (`as`)"),
        BinaryOp::Alt => Some("`//`"),
        BinaryOp::Math(_) => Some("arithmetic"),
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
            Some("an assignment")
        }
    }
}

fn metered(term: Term<&str>) -> Term<&str> {
    let tick = Term::Call(TICK, Vec::new());
    Term::BinOp(Box::new(term), BinaryOp::Pipe(None), Box::new(tick))
}

fn refuse<T>(what: &str) -> Result<T, String> {
    let functions: Vec<_> = FUNCTIONS
        .iter()
        .map(|(name, arguments)| match arguments {
            0 => (*name).to_owned(),
            _ => format!("{name}(…)"),
        })
        .collect();
    Err(format!(
        "holds {what}, which may not be used to name fields; allowed are paths, `..`, `|`, `,`, comparisons, \
         `and`, `or`, `if`, constants and {}",
        functions.join(", ")
    ))
}

fn unreadable(at: Option<&str>) -> String {
    match at {
        Some(rest) if !rest.is_empty() => {
            let near: String = rest.chars().take(20).collect();
            format!("is not jq near `{near}`")
        }
        _ => "is not jq: it ends too early".into(),
    }
}

// How deep brackets nest: the parser calls itself for each. Its other calls are bounded by the length.
fn nesting(expression: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in expression.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Functions and their numbers of arguments. None gathers values or calls itself.
const FUNCTIONS: [(&str, usize); 18] = [
    ("select", 1),
    ("first", 0),
    ("last", 0),
    ("first", 1),
    ("last", 1),
    ("has", 1),
    ("contains", 1),
    ("startswith", 1),
    ("endswith", 1),
    ("any", 1),
    ("all", 1),
    ("not", 0),
    ("length", 0),
    ("type", 0),
    ("empty", 0),
    ("true", 0),
    ("false", 0),
    ("null", 0),
];
/// The filter that ends a run which takes too long.
pub(super) const TICK: &str = "tick";
const MAX_BYTES: usize = 512;
const MAX_NESTING: usize = 32;
