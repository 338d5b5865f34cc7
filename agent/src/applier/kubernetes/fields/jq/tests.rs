use proptest::prelude::*;
use serde_json::json;

use super::*;

const MAX: usize = 512;

fn pod() -> Value {
    json!({"spec": {"containers": [
        {"name": "web", "image": "a", "args": ["-v", "-x", "-y"]},
        {"name": "istio-proxy", "image": "b"},
    ], "replicas": 3}, "metadata": {"labels": {"a.b/c": "1"}}})
}

fn pointers(expression: &str) -> Vec<String> {
    let paths = find(expression, &pod()).unwrap();
    let text = |segment: &PathSegment| match segment {
        PathSegment::Key(key) => key.clone(),
        PathSegment::Index(index) => index.to_string(),
    };
    paths
        .iter()
        .map(|path| path.iter().map(text).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn expressions_find_fields() {
    for (expression, found) in [
        (".spec.replicas", vec!["spec replicas"]),
        (
            r#".metadata.labels["a.b/c"]"#,
            vec!["metadata labels a.b/c"],
        ),
        (
            r#".spec.containers[] | select(.name == "istio-proxy").image"#,
            vec!["spec containers 1 image"],
        ),
        (
            r#".spec.containers[] | select(.name | startswith("istio"))"#,
            vec!["spec containers 1"],
        ),
        (
            ".spec | (.containers[0, -1].image, .replicas)",
            vec![
                "spec containers 0 image",
                "spec containers 1 image",
                "spec replicas",
            ],
        ),
        (
            ".spec.containers[0].args[1:]",
            vec!["spec containers 0 args 1", "spec containers 0 args 2"],
        ),
        (
            ".spec.containers[0].args[1:][0]",
            vec!["spec containers 0 args 1"],
        ),
        (
            ".spec.containers[0].args[-2:-1]",
            vec!["spec containers 0 args 1"],
        ),
        (
            r#".. | select(type == "object" and has("args")).args"#,
            vec!["spec containers 0 args"],
        ),
        (
            r#".spec.containers[0] | select((.args | any(. == "-x")) and (.args | all(. == "-x") | not))"#,
            vec!["spec containers 0"],
        ),
        (
            r#"first(.spec.containers[] | select(.args? and (.args | contains(["-v"]))))"#,
            vec!["spec containers 0"],
        ),
        (
            "if .spec.replicas > 2 then .spec.replicas else empty end",
            vec!["spec replicas"],
        ),
        (".spec.missing.deeper", vec![]),
        (".spec.missing[]?", vec![]),
        (".spec.containers[7].image", vec![]),
        (".", vec![""]),
    ] {
        assert_eq!(pointers(expression), found, "{expression}");
    }
}

#[test]
fn what_computes_or_reaches_outside_is_refused() {
    for (expression, problem) in [
        ("def f: f; f", "`def`"),
        ("range(10)", "`range/1`"),
        ("repeat(.)", "`repeat/1`"),
        ("recurse(.a)", "`recurse/1`"),
        ("until(false; .)", "`until/2`"),
        ("limit(1; .a)", "`limit/2`"),
        ("input", "`input/0`"),
        ("env.HOME", "`env/0`"),
        ("$ENV.HOME", "`$ENV`"),
        ("now", "`now/0`"),
        ("halt", "`halt/0`"),
        ("error(\"x\")", "`error/1`"),
        ("debug", "`debug/0`"),
        ("rule", "`rule/0`"),
        ("tick", "`tick/0`"),
        ("reduce .[] as $x (0; . + $x)", "`reduce`"),
        ("foreach .[] as $x (0; . + $x)", "`foreach`"),
        ("label $x | .a", "`label`"),
        (". as $x | .a", "a variable"),
        (".a |= 1", "an assignment"),
        (".a = 1", "an assignment"),
        (".[\"a\" * 1000000]", "arithmetic"),
        ("[..]", "no constant"),
        ("{a: 1}", "no constant"),
        ("[[.a]]", "no constant"),
        (".[\"\\(.a)\"]", "`\\(…)`"),
        ("@base64 \"x\"", "a format"),
        ("try .a", "`try`"),
        (".a // .b", "`//`"),
    ] {
        let error = find(expression, &pod()).unwrap_err();
        assert!(error.contains(problem), "{expression}: {error}");
    }
}

#[test]
fn broken_expressions_say_where() {
    for (expression, problem) in [
        (".a[", "ends too early"),
        (".a | }", "near `}`"),
        (".spec |", "ends too early"),
        ("", "ends too early"),
        (".a .b )", "near `)`"),
    ] {
        let error = find(expression, &pod()).unwrap_err();
        assert!(error.contains(problem), "{expression}: {error}");
    }
    assert!(
        find(&"(".repeat(100), &pod())
            .unwrap_err()
            .contains("nested")
    );
    assert!(
        find(&".a".repeat(400), &pod())
            .unwrap_err()
            .contains("longer")
    );
}

#[test]
fn deep_expressions_fit_on_the_stack() {
    let document = json!({"a": {"a": 1}});
    for expression in [
        "-".repeat(MAX),
        "if ".repeat(MAX / 3),
        "try ".repeat(MAX / 4),
        format!(".{}", "|.".repeat(MAX / 2 - 1)),
        format!("..{}", "|..".repeat(MAX / 3 - 1)),
        format!(".{}", "[0]?".repeat(MAX / 4 - 1)),
        format!("{}.{}", "first(".repeat(32), ")".repeat(32)),
        ". as $x|".repeat(MAX / 8),
    ] {
        let _ = find_within(&expression, &document, Duration::from_millis(50));
    }
}

#[test]
fn values_are_never_quoted() {
    let secret = json!({"data": {"password": "aHVudGVyMg=="}});
    for expression in [".data.password.x", ".data.password[]", ".data | has(0)"] {
        let error = find(expression, &secret).unwrap_err();
        assert!(error.contains("does not fit"), "{error}");
        assert!(!error.contains("aHVudGVyMg"), "{error}");
    }
}

#[test]
fn endless_expressions_end_in_time() {
    let mut document = json!({"a": 1});
    for _ in 0..60 {
        document = json!({"a": document, "b": [1, 2, 3]});
    }
    let limit = Duration::from_millis(20);
    for expression in [
        "..|..|..|..|..|..|..|..|select(false)",
        &format!(".{}|select(false)", "|(.,.)".repeat(40)),
        "..|..|select(first(..|..|..|..|..|..|..|select(false)))",
        &format!(".{}", "|(.,.)".repeat(40)),
        &format!(".a{}|select(false)", "[0,0,0,0,0]?".repeat(30)),
    ] {
        let started = Instant::now();
        let error = find_within(expression, &document, limit).unwrap_err();
        assert_eq!(error, "takes longer than 20 ms", "{expression}");
        assert!(started.elapsed() < BOUNDED, "{expression}");
    }
}

proptest! {
    #[test]
    fn arbitrary_expressions_never_panic(
        expression in prop_oneof![
            ".{0,40}",
            r#"(\.[a-c]?|\[|\]|\||,|\(|\)|"|[0-9]|-|\?|:| |select|first|if|then|end|==|\.\.){0,25}"#,
        ],
    ) {
        let document = json!({"a": [{"b": 1}, {"c": "x"}, [1, 2]], "b": null});
        if let Ok(paths) = find_within(&expression, &document, Duration::from_millis(50)) {
            for path in paths {
                prop_assert!(path.iter().try_fold(&document, |at, segment| segment.child_of(at)).is_some());
            }
        }
    }
}

// A fraction of a second on a quiet machine; unbounded, each would never end.
const BOUNDED: Duration = Duration::from_secs(60);
