//! The HTTPS answer of an IoT endpoint, for whoever compares clocks: status 403 to all, and the time.

use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Answers one request and closes. The time is off by `skew`.
pub(super) async fn answer<S>(stream: &mut S, now: Timestamp, skew: SignedDuration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(END.len()).any(|window| window == END) {
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) if head.len() < HEAD => head.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let id = uuid::Uuid::new_v4();
    let body = format!(r#"{{"message":"Forbidden","traceId":"{id}"}}"#);
    let text = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         date: {}\r\nx-amzn-requestid: {id}\r\nx-amzn-errortype: ForbiddenException\r\n\
         connection: close\r\n\r\n{body}",
        body.len(),
        date(now, skew),
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn date(now: Timestamp, skew: SignedDuration) -> String {
    let shown = now.checked_add(skew).unwrap_or(now);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    let text = printer.timestamp_to_rfc9110_string(&shown);
    text.unwrap_or_default()
}

const END: &[u8] = b"\r\n\r\n";

// More than any client's first request.
const HEAD: usize = 16 * 1024;
