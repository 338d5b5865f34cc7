//! Makes an expression pay: wraps what costs more than one step into the calls of [`meter`](super::meter), and sends
//! functions whose result may be far larger than their arguments to metered ones of our own. The shapes of the standard
//! macros stay as they are, since the interpreter knows `map` and `filter` by their shape and runs them in linear time.

use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::library::{self, METERED};
use super::meter;

/// Rewrites an expression and all in it.
pub(super) fn metered(mut expression: IdedExpr) -> IdedExpr {
    rewrite(&mut expression);
    expression
}

/// The number of nodes, which is what evaluating them once costs.
pub(super) fn nodes(expression: &IdedExpr) -> i64 {
    1 + children(&expression.expr)
        .into_iter()
        .map(nodes)
        .sum::<i64>()
}

/// The longest way from the root to a leaf. Not recursive, so that it can be asked of any expression.
pub(super) fn depth(expression: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(expression, 1)];
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        open.extend(
            children(&node.expr)
                .into_iter()
                .map(|child| (child, depth + 1)),
        );
    }
    deepest
}

fn rewrite(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Comprehension(comprehension) => comprehend(comprehension),
        Expr::Call(call) => {
            let pays = rewrite_call(call);
            if pays {
                wrap(node);
            }
        }
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite_and_wrap),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite_and_wrap(&mut entry.key);
                    rewrite_and_wrap(&mut entry.value);
                }
            }
        }
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn comprehend(comprehension: &mut ComprehensionExpr) {
    let turn = nodes(&comprehension.loop_step) + nodes(&comprehension.loop_cond);
    rewrite(&mut comprehension.iter_range);
    rewrite(&mut comprehension.loop_cond);
    rewrite(&mut comprehension.loop_step);
    rewrite(&mut comprehension.result);
    rewrite_and_wrap(&mut comprehension.accu_init);
    let range = std::mem::take(&mut comprehension.iter_range);
    let turn = node(Expr::Literal(LiteralValue::Int(turn.into())));
    comprehension.iter_range = call(meter::LOOP, vec![range, turn]);
}

// Whether the result has to be paid for too.
fn rewrite_call(call: &mut CallExpr) -> bool {
    call.target.as_deref_mut().map(rewrite);
    call.args.iter_mut().for_each(rewrite);
    match (call.func_name.as_str(), call.args.as_mut_slice()) {
        // Logic, numbers, and steps into a value: each is one step.
        (op::CONDITIONAL | op::LOGICAL_AND | op::LOGICAL_OR | op::NOT_STRICTLY_FALSE, _)
        | (op::LOGICAL_NOT | op::NEGATE | op::INDEX, _)
        | (op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, _) => false,
        // A step into an optional copies what it finds.
        (op::OPT_SELECT | op::OPT_INDEX, _) => true,
        // No comparison is longer than its shorter side.
        (op::EQUALS | op::NOT_EQUALS, [left, right]) => {
            if !is_literal(left) && !is_literal(right) {
                wrap(left);
            }
            false
        }
        (op::IN, [_, container]) => {
            wrap(container);
            false
        }
        (op::ADD | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, args) => {
            args.iter_mut().for_each(wrap_unless_paid);
            false
        }
        _ => rewrite_function(call),
    }
}

fn rewrite_function(call: &mut CallExpr) -> bool {
    if CHEAP.contains(&call.func_name.as_str()) {
        return false;
    }
    let namespace = call
        .target
        .as_deref()
        .and_then(|target| namespace(target, &call.func_name));
    let name = match namespace {
        Some(namespace) => format!("{namespace}.{}", call.func_name),
        None => call.func_name.clone(),
    };
    let receiver = usize::from(call.target.is_some() && namespace.is_none());
    let arity = call.args.len() + receiver;
    if let Some((_, metered, _)) = METERED
        .iter()
        .find(|(function, _, arities)| *function == name && arities.contains(&arity))
    {
        let target = call.target.take().filter(|_| receiver == 1);
        call.func_name = (*metered).into();
        call.args.splice(0..0, target.map(|target| *target));
        call.args.insert(0, meter_variable());
        return true;
    }
    if let Some(pattern) = call.args.last_mut().filter(|_| name == "matches") {
        let text = std::mem::take(pattern);
        *pattern = self::call(meter::PATTERN, vec![text]);
    }
    if receiver == 1 {
        call.target.as_deref_mut().map(wrap_unless_paid);
    }
    call.args.iter_mut().for_each(wrap_unless_paid);
    true
}

fn rewrite_and_wrap(node: &mut IdedExpr) {
    rewrite(node);
    wrap_unless_paid(node);
}

// Literals are as large as the text of the rule; accumulators and lists are paid where they are made.
fn wrap_unless_paid(node: &mut IdedExpr) {
    let paid = match &node.expr {
        Expr::Literal(_) | Expr::List(_) => true,
        Expr::Ident(name) => name.starts_with('@'),
        Expr::Call(call) => call.func_name == meter::SPEND,
        _ => false,
    };
    if !paid {
        wrap(node);
    }
}

fn wrap(node: &mut IdedExpr) {
    let value = std::mem::take(node);
    *node = call(meter::SPEND, vec![value]);
}

fn call(function: &str, mut args: Vec<IdedExpr>) -> IdedExpr {
    args.insert(0, meter_variable());
    node(Expr::Call(CallExpr {
        func_name: function.into(),
        target: None,
        args,
    }))
}

fn meter_variable() -> IdedExpr {
    node(Expr::Ident(meter::METER.into()))
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn is_literal(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(_))
}

// The crate tells `optional.of(x)` from a method of a variable by the names alone, and so do we.
fn namespace<'a>(target: &'a IdedExpr, function: &str) -> Option<&'a str> {
    match &target.expr {
        Expr::Ident(name) if library::is_qualified(name, function) => Some(name),
        _ => None,
    }
}

fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Comprehension(inner) => vec![
            &inner.iter_range,
            &inner.accu_init,
            &inner.loop_cond,
            &inner.loop_step,
            &inner.result,
        ],
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| entries(&entry.expr))
            .collect(),
        Expr::Struct(made) => made
            .entries
            .iter()
            .flat_map(|entry| entries(&entry.expr))
            .collect(),
    }
}

fn entries(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

// Functions that look at a value without walking it.
const CHEAP: [&str; 3] = ["hasConditions", "hasValue", "type"];

#[cfg(test)]
mod tests;
