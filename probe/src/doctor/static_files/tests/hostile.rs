//! Files that are none, or too much.

use super::*;

#[test]
fn what_is_no_file_of_ours_is_told_without_a_word_of_it() {
    let laughs = (1..12).fold("a0: &a0 [CANARY]\n".to_owned(), |text, level| {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text + &format!("a{level}: &a{level} [{before}]\n")
    });
    let deep = format!("consumerName: {}CANARY{}", "[".repeat(100), "]".repeat(100));
    let json = format!("{{\"Statement\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        "# CANARY\n",
        "CANARY",
        "[CANARY]",
        "a: CANARY",
        "a: [CANARY",
        "consumerName: CANARY\nconsumerName: CANARY\n",
        "consumerName: CANARY\n---\nconsumerName: CANARY\n",
        "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----\n",
        "apiVersion: v1\nkind: Secret\ndata: {password: CANARY}\n",
        "{\"Statement\": []}",
        "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"CANARY\"",
        "{\"policyDocument\": \"CANARY\"}",
        "{\"policyDocument\": [\"CANARY\"]}",
        "brokerHost: a\ntopics: {a: CANARY}\n",
        "brokerHost: a\npassword: CANARY\ntopics: CANARY\n",
        &laughs,
        &deep,
        &json,
    ] {
        let start: String = text.chars().take(60).collect();
        let found = looked(&[("file", text)]);
        assert_eq!(wrong(&found).len(), 1, "{start}: {found:#?}");
        only(&found, READ, &["file"]);
        assert!(!format!("{found:?}").contains("CANARY"), "{found:#?}");
    }
}

#[test]
fn policies_that_no_certificate_can_have_are_told_and_not_evaluated() {
    // Compact, so that its bytes are its characters.
    let policy = |bytes: usize| {
        let (head, tail) = (
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-2:123456789012:client/"#,
            r#""}]}"#,
        );
        format!(
            "{head}{}{tail}",
            "a".repeat(bytes - head.len() - tail.len())
        )
    };
    let most = 10 * 2048;
    let half = [("one", policy(most / 2)), ("two", policy(most / 2))];
    let over = [("one", policy(most / 2)), ("two", policy(most / 2 + 1))];
    let told = |files: &[(&str, String)]| {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let found = looked_as(agent("cluster1"), &files);
        assert_eq!(only_of(&found, READ), 2, "each is too long: {found:#?}");
        let unchecked = |it: &&Finding| it.seen.contains("20481 characters are more than all");
        found.iter().filter(unchecked).count()
    };
    assert_eq!(told(&half), 0);
    assert_eq!(told(&over), 2);
}

fn only_of(found: &[Finding], code: Code) -> usize {
    wrong(found).iter().filter(|it| it.code == code).count()
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("binary"), [0xff, 0xfe, 0]).unwrap();
    std::fs::write(path("large"), vec![b'#'; (4 << 20) + 1]).unwrap();
    std::fs::write(
        path("largest"),
        [vec![b'#'; (4 << 20) - 17], b"\nconsumerName: a\n".to_vec()].concat(),
    )
    .unwrap();
    std::fs::write(path("agent.yaml"), AGENT_FILE).unwrap();
    let files = ["none", "", "binary", "large", "agent.yaml", "largest"]
        .map(path)
        .to_vec();
    let found = check(&Asked {
        files,
        ..Asked::default()
    });
    assert_eq!(wrong(&found).len(), 4, "{found:#?}");
    for words in [
        "does not exist",
        "is a directory",
        "not UTF-8",
        "larger than 4 MiB",
    ] {
        only(&found, READ, &[words]);
    }
    assert_eq!(
        found
            .iter()
            .filter(|finding| finding.code == VALUES)
            .count(),
        2,
        "{found:#?}"
    );
}

#[test]
fn what_was_pasted_into_a_region_by_mistake_is_cut_short() {
    let key = format!("-----BEGIN PRIVATE KEY-----\\n{}", "CANARY".repeat(300));
    let text = REGION_FILE.replace("us-east-2", &format!("\"{key}\""));
    let found = looked(&[("region.yaml", &text)]);
    only(&found, REGION, &["region"]);
    assert!(!format!("{found:?}").contains("CANARY"), "{found:#?}");
}
