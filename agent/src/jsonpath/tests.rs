use proptest::prelude::*;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::*;

#[test]
fn kubectl_paths_become_rfc_9535() {
    for (kubectl, rfc) in [
        (".status.conditions", "$['status']['conditions']"),
        ("$.a-b/c", "$['a-b/c']"),
        (r".a\.b.c", "$['a.b']['c']"),
        (r"['a\.b']", "$['a.b']"),
        (".l[*].x", "$['l'][*]['x']"),
        (".l[0:2]", "$['l'][0:2]"),
        ("..name", "$..['name']"),
        ("..*", "$..[*]"),
        (".*", "$[*]"),
        ("['a']['b']", "$['a']['b']"),
        (
            r#".c[?(@.my-type=="a]b")].s"#,
            r#"$['c'][?@['my-type'] && (@['my-type']=="a]b")]['s']"#,
        ),
        (".c[?(@.x)]", "$['c'][?(@['x'])]"),
        (".c[?(@>2)]", "$['c'][?(@>2)]"),
        ("", "$"),
    ] {
        assert_eq!(translate(kubectl).as_deref(), Ok(rfc));
    }
}

/// What kubectl 1.36 prints for each path, found by running it on this object.
#[test]
fn paths_find_what_kubectl_finds() {
    let object = json!({
        "metadata": {"name": "a", "labels": {"a.b/c-d": "e", "q": "it's"}},
        "x": {
            "l": [1, 2, 3, 4],
            "c": [{"type": "A", "status": "True", "num": 1, "up": true},
                {"type": "B b", "status": "False", "num": 2, "up": false},
                {"type": "C", "num": 3, "mem": 3}],
            "a-b": {"c_d": 7},
            "deep": {"name": "n1", "in": {"name": "n2"}}}});
    for (path, found) in [
        (".x.l[-1]", json!([4])),
        (".x.l[0:2]", json!([1, 2])),
        (".x.l[::2]", json!([1, 3])),
        (".x.l[-2:]", json!([3, 4])),
        (".x.l[0,2]", json!([1, 3])),
        (".x.l.*", json!([1, 2, 3, 4])),
        ("['x']['l'][1]", json!([2])),
        (".x['a-b','deep'].c_d", json!([7])),
        (".x .l[0]", json!([1])),
        ("@.x.l[0]", json!([1])),
        ("$.x.l[0]", json!([1])),
        (".x.a-b.c_d", json!([7])),
        ("..name", json!(["a", "n1", "n2"])),
        (".x.deep..name", json!(["n1", "n2"])),
        ("..c[0].type", json!(["A"])),
        (".x.missing.y", json!([])),
        (".x.c[0,1].type", json!(["A", "B b"])),
        (".x.c[*]['type','num']", json!(["A", 1, "B b", 2, "C", 3])),
        (".x.c[*].mem", json!([3])),
        (r".metadata.labels.a\.b/c-d", json!(["e"])),
        (r".metadata.labels['a\.b/c-d']", json!(["e"])),
        (".metadata.labels['q']", json!(["it's"])),
        (".x.c[?(@.type=='B b')].status", json!(["False"])),
        (r#".x.c[?( @.type == "A" )].num"#, json!([1])),
        (r#".x.c[?("A"==@.type)].num"#, json!([1])),
        (".x.c[?(@.num!=1)].type", json!(["B b", "C"])),
        (".x.c[?(@.num<2)].type", json!(["A"])),
        (".x.c[?(@.num>=2)].type", json!(["B b", "C"])),
        (r#".x.c[?(@.type>"B")].type"#, json!(["B b", "C"])),
        (".x.c[?(@.up==true)].type", json!(["A"])),
        (".x.c[?(@.up!=true)].type", json!(["B b"])),
        (".x.c[?(@.mem)].type", json!(["C"])),
        (".x.c[?(@.mem!=3)].type", json!([])),
        (r#".x.c[?(@.missing!="a")].num"#, json!([])),
        (".x.c[?(@.missing==@.absent)].num", json!([])),
        (".x.c[?(@.num==@.mem)].type", json!(["C"])),
        (".x.c[?($.num==1)].type", json!(["A"])),
        (".x.c[?(1==1)].num", json!([1, 2, 3])),
        (".x.l[?(@>2)]", json!([3, 4])),
    ] {
        let query = translate(path).unwrap_or_else(|problem| panic!("{path} {problem}"));
        let query = JsonPath::parse(&query).unwrap_or_else(|error| panic!("{path}: {error}"));
        let values: Vec<Value> = query.query(&object).all().into_iter().cloned().collect();
        assert_eq!(json!(values), found, "{path}");
    }
}

#[test]
fn what_kubectl_refuses_or_cannot_do_well_is_refused_with_a_reason() {
    for (path, problem) in [
        ("{.a}", "may not hold braces"),
        ("a", "must begin with a dot"),
        (".a[", "holds a bracket that is not closed"),
        (
            ".a[x]",
            "holds something in brackets that is no index, `*`, or name in quotes",
        ),
        (
            ".a[]",
            "holds something in brackets that is no index, `*`, or name in quotes",
        ),
        (
            ".a['b' 'c']",
            "holds a name in brackets that is not in quotes",
        ),
        (".a['b]", "holds a bracket that is not closed"),
        (".a..", "holds a dot without a name"),
        (".a,.b", "holds a comma outside of brackets"),
        (
            "range .a[*]",
            "may not use `range` and `end`: `[*]` gives every element",
        ),
        (
            "end",
            "may not use `range` and `end`: `[*]` gives every element",
        ),
        (
            ".a[(@.length-1)]",
            "holds something in brackets that is no index, `*`, or name in quotes",
        ),
        (".a[?(length(@.b)==1)]", "may not call functions"),
        ("..a..b", "holds `..` more than once"),
        (
            ".a[*,*][*,*][*,*][*,*][*,*][*,*][*,*]",
            "asks for too many combinations of names",
        ),
        (
            ".a[0,0][0,0][0,0][0,0][0,0][0,0][0,0]",
            "asks for too many combinations of names",
        ),
        (
            ".a[?(@[?(@[?(@.b)])])]",
            "holds filters in filters in filters",
        ),
    ] {
        assert_eq!(translate(path), Err(problem), "{path}");
    }
    assert!(translate(&".a".repeat(2000)).is_err());
    assert!(translate(&format!(".a[?({}@.b{})]", "(".repeat(40), ")".repeat(40))).is_err());
}

proptest! {
    #[test]
    fn arbitrary_paths_never_panic(path in r#"[.\[\]a-z@?()'"\\$*é,:=!0-9 -]{0,30}|.{0,30}"#) {
        if let Ok(query) = translate(&path)
            && let Ok(query) = JsonPath::parse(&query)
        {
            query.query(&json!({"a": {"b": [1, {"a": "é"}]}, "c": null}));
        }
    }
}
