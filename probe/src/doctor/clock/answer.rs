//! Asks for nothing by HTTP, and reads the `Date` of the answer, whatever its status.

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The date that the answer carries.
pub(super) async fn date(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
) -> Option<Timestamp> {
    let question = format!(
        "HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut head = Vec::new();
    // Until the head ends: a server may leave the connection open, or close it without a proper end.
    let mut part = [0; 1024];
    while head.len() < MOST_BYTES && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(count) => head.extend_from_slice(&part[..count]),
        }
    }
    of_head(&String::from_utf8_lossy(&head))
}

fn of_head(head: &str) -> Option<Timestamp> {
    let mut lines = head.lines();
    lines
        .next()
        .filter(|status| status.starts_with("HTTP/1."))?;
    let fields = lines.take_while(|line| !line.is_empty());
    let mut named = fields.filter_map(|line| line.split_once(':'));
    let (_, value) = named.find(|(name, _)| name.eq_ignore_ascii_case("date"))?;
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
    Some(date.timestamp())
}

// Far more than the head of any answer.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_from_an_answer_of_any_status_and_from_no_other_text() {
        let head = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nDATE: Sun, 29 Nov 2026 21:28:52 GMT\r\n\r\n";
        assert_eq!(of_head(head), Some("2026-11-29T21:28:52Z".parse().unwrap()));
        for other in [
            "",
            "HTTP/1.1 200 OK\r\n\r\ndate: Sun, 29 Nov 2026 21:28:52 GMT",
            "HTTP/1.1 200 OK\r\ndate: yesterday\r\n\r\n",
            "x\r\ndate: Sun, 29 Nov 2026 21:28:52 GMT\r\n\r\n",
        ] {
            assert_eq!(of_head(other), None, "{other}");
        }
    }
}
