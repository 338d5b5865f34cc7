//! A row per function: each text is an expression that has to be true of [`object`].

use serde_json::{Value, json};

use crate::tests::judged;

fn object() -> Value {
    json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "web", "labels": {"b": "2", "a": "1", "x.y/z": "3"}},
        "spec": {"replicas": 3, "big": 18_446_744_073_709_551_615_u64, "half": 0.5, "none": null, "memory": "1.5Gi"},
        "status": {"replicas": 3, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Degraded", "status": "False"}]}})
}

#[track_caller]
fn all_hold(expressions: &[&str]) {
    for expression in expressions {
        let rule = json!({"type": "CEL", "condition": "C", "celExpressions": [expression]});
        assert_eq!(
            judged(&rule, &object()),
            "True ConditionRuleEvaluated Manifest is C",
            "{expression}"
        );
    }
}

#[track_caller]
fn all_fail(rows: &[(&str, &str)]) {
    for (expression, problem) in rows {
        let rule = json!({"type": "CEL", "condition": "C", "celExpressions": [expression]});
        let want = format!(
            "False ConditionRuleExpressionError expression 1 (`{expression}`) failed: {problem}"
        );
        assert_eq!(judged(&rule, &object()), want);
    }
}

#[test]
fn standard_macros_and_operators() {
    all_hold(&[
        "object.spec.replicas == object.status.replicas",
        "object.spec.replicas + 1 == 4 && object.spec.replicas * 2.0 == 6.0 || true",
        "object.spec.big > 1.0 && object.spec.half < 1.0 && object.spec.none == null",
        "has(object.spec.replicas) && !has(object.spec.missing)",
        "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
        "object.status.conditions.all(c, c.status in ['True', 'False'])",
        "object.status.conditions.exists_one(c, c.status == 'True')",
        "object.status.conditions.map(c, c.type) == ['Ready', 'Degraded']",
        "object.status.conditions.map(c, c.status == 'True', c.type) == ['Ready']",
        "object.status.conditions.filter(c, c.type == 'Ready')[0].status == 'True'",
        "object.metadata.labels.map(k, k).join(',') == 'a,b,x.y/z'",
        "object.metadata.labels.exists(k, k == 'a') && 'a' in object.metadata.labels",
        "object.metadata.labels['x.y/z'] == '3'",
        "size(object.status.conditions) == 2 && object.metadata.name.size() == 3",
        "type(object.spec) == map && int('3') == 3 && string(3) == '3' && double('0.5') == 0.5",
        "object.metadata.name.startsWith('w') && object.metadata.name.endsWith('b') && 'web'.contains('e')",
        "(object.spec.replicas > 2 ? 'many' : 'few') == 'many'",
        "{'a': [1, 2]}['a'][1] == 2 && [1, 2] + [3] == [1, 2, 3] && 'a' + 'b' == 'ab'",
        "object.status.missing.x == 1 || true",
        "!(object.status.missing.x == 1 && false)",
    ]);
}

#[test]
fn optionals() {
    all_hold(&[
        "object.?status.?missing.orValue(7) == 7",
        "object.?status.?replicas.orValue(7) == 3",
        "object[?'spec'].hasValue() && !object.?x.hasValue()",
        "optional.of(1).value() == 1 && optional.none().or(optional.of(2)).value() == 2",
        "object.spec.?replicas.optMap(r, r + 1).orValue(0) == 4",
        "[?object.?x, 1] == [1] && {?'a': object.?x} == {}",
        "optional.ofNonZeroValue('').orValue('d') == 'd'",
    ]);
}

#[test]
fn conditions() {
    all_hold(&[
        "hasConditions(object)",
        "!hasConditions({}) && !hasConditions(object.spec) && !hasConditions(1)",
        "!hasConditions({'status': {'conditions': 'none'}})",
    ]);
}

#[test]
fn strings() {
    all_hold(&[
        "'tacocat'.charAt(3) == 'o' && 'héllo'.indexOf('l') == 2 && 'héllo'.indexOf('l', 3) == 3",
        "'hello'.indexOf('z') == -1 && 'abc'.indexOf('', 3) == 3",
        "'bananananana'.lastIndexOf('nana', 7) == 6 && 'héllo'.lastIndexOf('l') == 3",
        "'ta©o©αT'.lastIndexOf('©', 3) == 2 && ''.lastIndexOf('@@') == -1",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'a'.upperAscii() == 'A'",
        "'a-b-c'.replace('-', '+') == 'a+b+c' && 'a-b-c'.replace('-', '+', 1) == 'a+b-c'",
        "'abc'.replace('', '_') == '_a_b_c_' && 'a-b'.replace('-', '', -1) == 'ab'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'abc'.split('') == ['a', 'b', 'c'] && 'abc'.split('', 2) == ['a', 'bc'] && 'abc'.split(',', 0) == []",
        "''.split('') == [] && ''.split(',') == [''] && 'abc'.split('', 3) == ['a', 'b', 'c']",
        "['a', 'b'].join() == 'ab' && ['a', 'b'].join(', ') == 'a, b' && [].join('x') == ''",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
        "'  x '.trim() == 'x' && 'abc'.reverse() == 'cba' && strings.quote('a') == '\"a\"'",
        "'%d of %s'.format([1, 'two']) == '1 of two' && '%.2f'.format([1.5]) == '1.50'",
        "'web-0'.matches('^web-[0-9]+$') && matches('web', 'e') && !'web'.matches('x')",
    ]);
    all_fail(&[
        ("'a'.charAt(7) == ''", "charAt: index out of range: 7"),
        (
            "'abc'.indexOf('a', 4) == 0",
            "indexOf: index out of range: 4",
        ),
        (
            "['a', 1].join() == ''",
            "join: the list holds more than strings",
        ),
        (
            "'a'.replace(1, 'b') == ''",
            "replace: got int where string is needed",
        ),
        (
            "'a'.find('a') == 'a'",
            "there is no function or variable `find`",
        ),
    ]);
}

#[test]
fn lists() {
    all_hold(&[
        "[1, 2, 2].isSorted() && ![2, 1].isSorted() && ['a', 'b'].isSorted() && [].isSorted()",
        "[1, 2].sum() == 3 && [1.5, 2.5].sum() == 4.0 && [].sum() == 0 && [1u, 2u].sum() == 3u",
        "[3, 1, 2].min() == 1 && ['b', 'a'].max() == 'b'",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(9) == -1",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [3, 1].sort() == [1, 3] && [[1], [2]].flatten() == [1, 2]",
        "[1, 1, 2].distinct() == [1, 2] && [1, 2].reverse() == [2, 1] && lists.range(3) == [0, 1, 2]",
        "object.status.conditions.sortBy(c, c.type)[0].type == 'Degraded'",
        "math.greatest(1, 3, 2) == 3",
    ]);
    all_fail(&[
        ("[].min() == 1", "min: the list is empty"),
        (
            "[1, 'a'].sum() == 1",
            "sum: the list holds more than numbers of one type",
        ),
        (
            "[9223372036854775807, 1].sum() == 1",
            "sum: the sum is too large",
        ),
        (
            "lists.range(-1) == []",
            "lists.range: a list of -1 elements cannot be",
        ),
    ]);
}

#[test]
fn quantities() {
    all_hold(&[
        "quantity(object.spec.memory).isGreaterThan(quantity('1Gi'))",
        "quantity('100m').isLessThan(quantity('1')) && quantity('1k') == quantity('1000')",
        "quantity('0.5').compareTo(quantity('500m')) == 0 && quantity('1').compareTo(quantity('2')) == -1",
        "quantity('1').add(quantity('500m')).asApproximateFloat() == 1.5 && quantity('1').sub(2).sign() == -1",
        "quantity('2').add(3).asInteger() == 5 && quantity('3').sub(quantity('3')).sign() == 0",
        "quantity('2Ki').asInteger() == 2048 && !quantity('1500m').isInteger() && quantity('1e3').isInteger()",
        "isQuantity('-1.5E') && isQuantity('+.5') && isQuantity('1E3') && isQuantity('1u')",
        "!isQuantity('') && !isQuantity('1 Gi') && !isQuantity('1.2.3') && !isQuantity('Ki') && !isQuantity('1x')",
        "quantity('1e-12') == quantity('1n') && quantity('0e900') == quantity('0')",
        "type(quantity('1')) == type(quantity('2'))",
    ]);
    all_fail(&[
        ("quantity('x').isInteger()", "quantity: `x` is no quantity"),
        (
            "quantity('0.5').asInteger() == 0",
            "asInteger: the quantity is no whole number of 64 bits",
        ),
        (
            "isQuantity('1e900') || quantity('1e900').isInteger()",
            "quantity: `1e900` is no quantity",
        ),
    ]);
}

#[test]
fn addresses() {
    all_hold(&[
        "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && ip('0.0.0.0').isUnspecified()",
        "isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('01.2.3.4') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')",
        "ip('fe80::1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast()",
        "ip('10.0.0.1').isGlobalUnicast() && !ip('127.0.0.1').isGlobalUnicast()",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && string(ip('0:0::1')) == '::1'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsIP(ip('10.1.2.3'))",
        "!cidr('10.0.0.0/8').containsIP('11.0.0.1') && !cidr('::/0').containsIP('1.1.1.1') && cidr('0.0.0.0/0').containsIP('1.1.1.1')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')",
        "cidr('::1/64').prefixLength() == 64 && string(cidr('::1/64').masked()) == '::/64'",
        "isCIDR('1.2.3.4/32') && !isCIDR('1.2.3.4/33') && !isCIDR('1.2.3.4') && !isCIDR('1.2.3.4/08')",
    ]);
    all_fail(&[
        ("ip('x').isLoopback()", "ip: `x` is no IP address"),
        (
            "cidr('x').ip() == ip('::')",
            "cidr: `x` is no range of addresses",
        ),
    ]);
}

#[test]
fn urls() {
    all_hold(&[
        "url('HTTPS://u:p@h.example:8443/a%20b?x=1&x=2&y=a+b').getScheme() == 'https'",
        "url('https://h.example:8443/a').getHost() == 'h.example:8443'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'",
        "url('https://h/a%20b').getEscapedPath() == '/a%20b' && url('/a?b').getScheme() == ''",
        "url('https://h/?x=1&x=2&y=a+b%21').getQuery() == {'x': ['1', '2'], 'y': ['a b!']}",
        "isURL('https://a.b') && isURL('/path') && !isURL('a.b') && !isURL('') && !isURL('http://a:b/') && !isURL('../x')",
        "!isURL('http://a b/') && !isURL('http://a/%zz') && !isURL('mailto:x')",
    ]);
}

#[test]
fn formats() {
    all_hold(&[
        "!format.dns1123Label().validate('web-0').hasValue() && format.dns1123Label().validate('Web').hasValue()",
        "format.dns1123Label().validate('web-').value()[0].startsWith('a lowercase RFC 1123 label')",
        "!format.dns1123LabelPrefix().validate('web-').hasValue()",
        "!format.dns1123Subdomain().validate('a.b-c.d').hasValue() && format.dns1123Subdomain().validate('a..b').hasValue()",
        "format.dns1035Label().validate('0a').hasValue() && !format.dns1035LabelPrefix().validate('a-').hasValue()",
        "!format.qualifiedName().validate('a.b/C_d').hasValue() && format.qualifiedName().validate('a/b/c').hasValue()",
        "!format.labelValue().validate('').hasValue() && format.labelValue().validate('-').hasValue()",
        "!format.uri().validate('http://a').hasValue() && format.uri().validate('a').hasValue()",
        "!format.uuid().validate('0f0e0d0c-0b0a-0908-0706-050403020100').hasValue() && format.uuid().validate('0f').hasValue()",
        "!format.byte().validate('YQ==').hasValue() && format.byte().validate('a?==').hasValue()",
        "!format.date().validate('2026-02-28').hasValue() && format.date().validate('2026-02-30').hasValue()",
        "!format.datetime().validate('2026-02-28T10:00:00Z').hasValue() && format.datetime().validate('now').hasValue()",
        "format.named('uuid').hasValue() && !format.named('x').hasValue()",
    ]);
}

#[test]
fn semantic_versions() {
    all_hold(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))",
        "semver('1.0.0-rc.1').compareTo(semver('1.0.0-rc.2')) == -1 && semver('1.0.0-1').isLessThan(semver('1.0.0-a'))",
        "semver('1.0.0+a') == semver('1.0.0+b') && semver('1.0.0-a').isLessThan(semver('1.0.0-a.1'))",
        "isSemver('1.2.3-x.7+b') && !isSemver('1.2') && !isSemver('v1.2.3') && !isSemver('01.2.3') && !isSemver('1.2.3-')",
        "isSemver('v1.2', true) && semver('v01.2', true) == semver('1.2.0') && !isSemver('x', true) && !isSemver('1..2', true)",
    ]);
}

#[test]
fn sets() {
    all_hold(&[
        "sets.contains([1, 2, 3], [3, 1]) && !sets.contains([1], [2]) && sets.contains([1], [])",
        "sets.equivalent([1, 1, 2], [2, 1]) && !sets.equivalent([1], [1, 2])",
        "sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [])",
    ]);
    all_fail(&[(
        "sets.contains(1, [])",
        "sets.contains: got int where list is needed",
    )]);
}

#[test]
fn times_and_durations() {
    all_hold(&[
        "timestamp('2026-08-01T10:00:00Z') < timestamp('2026-08-01T12:00:01+02:00')",
        "timestamp('2026-08-01T12:00:00+02:00') == timestamp('2026-08-01T10:00:00Z')",
        "timestamp('2026-08-01T10:00:00Z') - timestamp('2026-08-01T09:00:00Z') == duration('1h')",
        "timestamp('2026-08-01T10:00:00Z') + duration('90m') >= timestamp('2026-08-01T11:30:00Z')",
        "duration('1h') + timestamp(0) - duration('3600s') == timestamp(0) && int(timestamp(7)) == 7",
        "duration('1h30m') == duration('5400s') && duration('1.5s') + duration('500ms') == duration('2s')",
        "duration('-1m') < duration('0') && string(duration('90m')) == '5400s' && string(duration('-1.5s')) == '-1.5s'",
        "string(timestamp('2026-08-01T10:00:00.5Z')) == '2026-08-01T10:00:00.5Z'",
        "timestamp('2026-08-01T10:02:03.004Z').getFullYear() == 2026 && timestamp('2026-08-01T10:00:00Z').getMonth() == 7",
        "timestamp('2026-08-01T10:02:03.004Z').getDate() == 1 && timestamp('2026-08-01T10:00:00Z').getDayOfMonth() == 0",
        "timestamp('2026-08-01T10:02:03.004Z').getDayOfWeek() == 6 && timestamp('2026-01-01T10:00:00Z').getDayOfYear() == 0",
        "timestamp('2026-08-01T10:02:03.004Z').getMinutes() == 2 && timestamp('2026-08-01T10:02:03.004Z').getMilliseconds() == 4",
        "timestamp('2026-08-01T23:00:00Z').getHours('+02:00') == 1 && timestamp('2026-08-01T01:00:00Z').getHours('-02:30') == 22",
        "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90 && duration('1.5s').getMilliseconds() == 500",
        "type(timestamp(0)) == google.protobuf.Timestamp && [duration('2s'), duration('1s')].min() == duration('1s')",
    ]);
    all_fail(&[
        (
            "timestamp('today') < timestamp(0)",
            "timestamp: `today` is no time of RFC 3339",
        ),
        (
            "duration('1x') < duration('1s')",
            "duration: `1x` is no duration such as 1h30m",
        ),
        (
            "duration('') < duration('1s')",
            "duration: `` is no duration such as 1h30m",
        ),
        (
            "timestamp(0).getHours('Nowhere') == 1",
            "timestamp: there is no time zone `Nowhere`",
        ),
        (
            "timestamp(0) < 1",
            "found no matching overload for '_<_' applied to '(google.protobuf.Timestamp, int)'",
        ),
        (
            "quantity('1') + quantity('1') == quantity('2')",
            "found no matching overload for '_+_' applied to '(kubernetes.Quantity, kubernetes.Quantity)'",
        ),
    ]);
}
