//! That paying changes nothing but the price.

use std::sync::Arc;

use cel::{Context, Env, Value};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::meter::Budget;
use crate::value::Subject;
use crate::{library, stack};

/// Expressions of all kinds of calls, most of them of the wrong types.
fn expressions() -> impl Strategy<Value = String> {
    let leaves = [
        "object.n",
        "object.x",
        "object.l",
        "object.m",
        "'aXbéXc'",
        "'X'",
        "''",
        "3",
        "1",
        "1.5",
        "true",
        "null",
        "[1, 2, 2]",
        "['a', 'b']",
        "a",
        "lists.range(2)",
        "b'ab'",
    ];
    proptest::sample::select(leaves.to_vec())
        .prop_map(String::from)
        .prop_recursive(4, 24, 3, |inner| {
            let shapes = [
                "(A + B)",
                "(A == B)",
                "(A != B)",
                "(A < B)",
                "(A >= B)",
                "(A in B)",
                "(A - B)",
                "!A",
                "-A",
                "(A && B)",
                "(A || B)",
                "(A ? B : C)",
                "[A, B]",
                "{'k': A, B: C}.k",
                "A[B]",
                "A.x",
                "has(A.x)",
                "A.?x.orValue(B)",
                "A[?B].hasValue()",
                "optional.of(A).value()",
                "optional.of(A).optMap(a, B).value()",
                "A.map(a, B)",
                "A.map(a, B, C)",
                "A.filter(a, B == a)",
                "A.all(a, B)",
                "A.exists(a, a == B)",
                "A.exists_one(a, B == a)",
                "size(A)",
                "A.size()",
                "type(A) == type(B)",
                "dyn(A)",
                "string(A)",
                "A.split(B)",
                "A.split(B, C)",
                "A.replace(B, C)",
                "A.replace(B, 'é', C)",
                "A.indexOf(B)",
                "A.indexOf(B, C)",
                "A.lastIndexOf(B)",
                "A.lastIndexOf(B, C)",
                "A.join(B)",
                "A.join()",
                "A.distinct()",
                "A.reverse()",
                "A.sort()",
                "A.sortBy(a, B)",
                "A.slice(0, B)",
                "A.flatten()",
                "A.substring(B)",
                "A.contains(B)",
                "A.matches(B)",
                "'%s'.format([A])",
                "lists.range(A)",
                "A.trim()",
                "math.greatest(A, B)",
            ];
            (
                proptest::sample::select(shapes.to_vec()),
                inner.clone(),
                inner.clone(),
                inner,
            )
                .prop_map(|(shape, a, b, c)| {
                    let put = |letter| match letter {
                        'A' => a.clone(),
                        'B' => b.clone(),
                        'C' => c.clone(),
                        other => other.to_string(),
                    };
                    shape.chars().map(put).collect::<String>()
                })
        })
}

fn outcome(env: &Arc<Env>, expression: &str, pays: bool) -> Result<Value, String> {
    let object = json!({"n": 2, "x": "aXb", "l": [3, 1, 2, 1], "m": {"x": 1}});
    let subject = Subject::of(&object);
    let program = env.compile(expression).map_err(|error| error.to_string())?;
    let mut context = Context::with_env(env.clone());
    context.set_variable_resolver(&subject);
    context.add_variable_as_val(meter::METER, Box::new(Budget::of_manifest().call()));
    let plain = program.expression().clone();
    let expression = if pays { metered(plain) } else { plain };
    Value::resolve(&expression, &context).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn our_functions_on_texts_do_what_those_of_the_crate_do(text in "[abé]{0,7}", part in "[abé]{0,2}", n in -2..9_i64) {
        let env = Arc::new(library::environment().unwrap());
        for call in [
            format!("replace('{part}', 'xé')"), format!("replace('{part}', 'xé', {n})"),
            format!("split('{part}')"), format!("split('{part}', {n})"),
            format!("indexOf('{part}')"), format!("indexOf('{part}', {n})"),
            format!("lastIndexOf('{part}')"), format!("lastIndexOf('{part}', {n})"),
            format!("split('a').join('{part}')"),
        ] {
            let call = format!("'{text}'.{call}");
            prop_assert_eq!(outcome(&env, &call, true).ok(), outcome(&env, &call, false).ok(), "{}", call);
        }
    }

    /// What the interpreter finds without a meter, it finds with it, and with our functions for its own.
    #[test]
    fn metering_changes_no_result(expression in expressions()) {
        let env = Arc::new(library::environment().unwrap());
        let (plain, metered) = stack::with_room(|| (outcome(&env, &expression, false), outcome(&env, &expression, true))).unwrap();
        match plain {
            Ok(_) => prop_assert_eq!(metered, plain),
            // Lists have `indexOf` from us alone.
            Err(error) => prop_assert!(metered.is_err() || expression.contains("ndexOf"), "{error}"),
        }
    }
}
