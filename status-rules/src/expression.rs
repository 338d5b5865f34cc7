//! Runs CEL rules: compiles, meters and evaluates expressions, and says what came of it.
//!
//! Expressions are compiled once per text: the last [`CACHED`] are kept for all works, since a rule is evaluated at
//! each change of its object. The parser and the interpreter hold assertions that malicious texts might reach, so both
//! run inside `catch_unwind`: a panic becomes a condition instead of the end of the agent.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::common::ast::IdedExpr;
use cel::common::types::{CelBool, CelString};
use cel::{Context, Env};
use link::bundle::ConditionRule;

use super::meter::{Budget, METER};
use super::value::Subject;
use super::{Evaluation, guard, library, rewrite, stack};

mod messages;

/// Evaluates the expressions of a rule for an object.
pub(super) fn evaluate(rule: &ConditionRule, object: &Subject<'_>, budget: &Budget) -> Evaluation {
    let (status, reason, message) = stack::with_room(|| outcome(rule, object, budget))
        .unwrap_or_else(|error| {
            let message = format!("the system gives no thread to run the rule: {error}");
            ("Unknown", "ConditionRuleInternalError", message)
        });
    Evaluation {
        condition: rule.condition.clone(),
        status,
        reason,
        message: messages::clipped(&message),
    }
}

// Status, reason and message.
fn outcome(
    rule: &ConditionRule,
    object: &Subject<'_>,
    budget: &Budget,
) -> (&'static str, &'static str, String) {
    match holds(rule, object, budget) {
        Ok(holds) => (
            if holds { "True" } else { "False" },
            "ConditionRuleEvaluated",
            message(rule, object, holds, budget),
        ),
        Err(Failure::Expression(message)) => ("False", "ConditionRuleExpressionError", message),
        Err(Failure::Internal(message)) => ("Unknown", "ConditionRuleInternalError", message),
        Err(Failure::Invalid(message)) => ("Unknown", "ConditionRuleInvalid", message),
    }
}

/// Why a rule came to no result.
#[derive(Debug)]
enum Failure {
    /// An expression is wrong, or wrong for this object.
    Expression(String),
    /// The evaluator failed, not the rule.
    Internal(String),
    /// The rule has no expression.
    Invalid(String),
}

// Whether all expressions hold; those after the first that does not are not looked at.
fn holds(rule: &ConditionRule, object: &Subject<'_>, budget: &Budget) -> Result<bool, Failure> {
    if rule.cel_expressions.is_empty() {
        return Err(Failure::Invalid("a CEL rule needs `celExpressions`".into()));
    }
    for (at, text) in rule.cel_expressions.iter().enumerate() {
        let location = messages::location(&format!("expression {}", at + 1), text);
        let result = run(text, object, None, budget).map_err(|failure| failure.at(&location))?;
        match result {
            Computed::Bool(true) => {}
            Computed::Bool(false) => return Ok(false),
            Computed::Text(_) => return Err(not_a(&location, "bool", "string")),
            Computed::Other(kind) => return Err(not_a(&location, "bool", &kind)),
        }
    }
    Ok(true)
}

// A message that fails must not hide the result, nor be hidden by it.
fn message(rule: &ConditionRule, object: &Subject<'_>, holds: bool, budget: &Budget) -> String {
    let fixed = match rule.message.as_str() {
        "" => format!(
            "Manifest is {}{}",
            if holds { "" } else { "not " },
            rule.condition
        ),
        message => message.to_string(),
    };
    if rule.message_expression.is_empty() {
        return fixed;
    }
    let text = &rule.message_expression;
    let location = messages::location("messageExpression", text);
    let problem = match run(text, object, Some(holds), budget) {
        Ok(Computed::Text(message)) if !message.trim().is_empty() => return message,
        Ok(Computed::Text(_)) => return fixed,
        Ok(Computed::Bool(_)) => not_a(&location, "string", "bool"),
        Ok(Computed::Other(kind)) => not_a(&location, "string", &kind),
        Err(failure) => failure.at(&location),
    };
    format!("{fixed} ({})", problem.into_message())
}

/// What an expression evaluated to.
enum Computed {
    Bool(bool),
    Text(String),
    /// The name of another type.
    Other(String),
}

fn run(
    text: &str,
    object: &Subject<'_>,
    result: Option<bool>,
    budget: &Budget,
) -> Result<Computed, Failure> {
    let env = ENV.clone().map_err(Failure::Internal)?;
    let expression = compiled(&env, text)?;
    let meter = budget.call();
    let mut context = Context::with_env(env);
    context.add_variable_as_val(METER, Box::new(meter.clone()));
    context.set_variable_resolver(object);
    if let Some(result) = result {
        context.add_variable_as_val("result", Box::new(CelBool::from(result)));
    }
    let evaluated = catch_unwind(AssertUnwindSafe(|| {
        meter
            .charge(rewrite::nodes(&expression).unsigned_abs())
            .and_then(|()| cel::Value::resolve_val(&expression, &context))
            .map(|value| {
                if let Some(value) = value.downcast_ref::<CelBool>() {
                    Computed::Bool(*value.inner())
                } else if let Some(value) = value.downcast_ref::<CelString>() {
                    Computed::Text(value.inner().into())
                } else {
                    Computed::Other(value.get_type().name().into())
                }
            })
    }));
    budget
        .settle(&meter)
        .map_err(|exceeded| Failure::Expression(exceeded.to_string()))?;
    evaluated
        .map_err(|_| Failure::Internal("made the evaluator panic".into()))?
        .map_err(|error| Failure::Expression(format!("failed: {}", messages::explain(&error))))
}

fn compiled(env: &Env, text: &str) -> Result<Arc<IdedExpr>, Failure> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = cache.get(text) {
        return Ok(compiled.clone());
    }
    let compiled = Arc::new(compile(env, text)?);
    if cache.len() >= CACHED {
        cache.clear();
    }
    cache.insert(text.into(), compiled.clone());
    Ok(compiled)
}

fn compile(env: &Env, text: &str) -> Result<IdedExpr, Failure> {
    guard::check(text).map_err(Failure::Expression)?;
    catch_unwind(AssertUnwindSafe(|| env.compile(text)))
        .map_err(|_| Failure::Internal("made the parser panic".into()))?
        .map_err(|errors| {
            Failure::Expression(format!(
                "does not compile: {}",
                messages::parse_errors(&errors)
            ))
        })
        .and_then(|program| {
            let expression = program.expression();
            guard::check_depth(rewrite::depth(expression)).map_err(Failure::Expression)?;
            Ok(rewrite::metered(expression.clone()))
        })
}

fn not_a(location: &str, want: &str, got: &str) -> Failure {
    Failure::Expression(format!("{location} gives {got}, not {want}"))
}

// === impl Failure ===

impl Failure {
    // Puts the location before the phrase.
    fn at(self, location: &str) -> Self {
        match self {
            Self::Expression(phrase) => Self::Expression(format!("{location} {phrase}")),
            Self::Internal(phrase) => Self::Internal(format!("{location} {phrase}")),
            Self::Invalid(phrase) => Self::Invalid(phrase),
        }
    }

    fn into_message(self) -> String {
        match self {
            Self::Expression(message) | Self::Internal(message) | Self::Invalid(message) => message,
        }
    }
}

static ENV: LazyLock<Result<Arc<Env>, String>> = LazyLock::new(|| {
    library::environment()
        .map(Arc::new)
        .map_err(|error| format!("cannot be run: {error}"))
});

static CACHE: LazyLock<Mutex<HashMap<String, Arc<IdedExpr>>>> = LazyLock::new(Mutex::default);

/// Expressions kept compiled, a few kilobytes each. A full cache is emptied rather than sorted by age: works with more
/// rules than this compile them again, which costs them a millisecond.
const CACHED: usize = 512;
