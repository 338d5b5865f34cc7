//! URLs: `url`, `isURL` and their parts. Accepts what Go's `url.ParseRequestURI` accepts: an absolute URL, or a path
//! from the root.

use std::collections::{BTreeMap, HashMap};

use cel::Env;
use cel::common::types::{CelBool, CelList, CelMap, CelMapKey, CelString, Type};
use cel::common::value::Val;

use super::opaque::{Content, Opaque};
use super::{Declared, Result, fails};

/// The parts of a URL, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

type Value = Opaque<Url>;

// === impl Url ===

impl Url {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return None;
        }
        let (scheme, rest) = match text.starts_with('/') {
            true => ("", text),
            false => text
                .split_once(':')
                .filter(|(scheme, _)| is_scheme(scheme))?,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        // `mailto:x` is no address to request, and escapes have to be whole.
        let fits = (path.is_empty() || path.starts_with('/'))
            && decoded(path, false).is_some()
            && has_good_port(host);
        fits.then(|| Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.into(),
            path: path.into(),
            query: query.into(),
        })
    }

    // The host as in a URL, and its port.
    fn host_and_port(&self) -> (&str, &str) {
        let after_address = self.host.rfind(']').map_or(0, |at| at + 1);
        match self.host[after_address..].find(':') {
            Some(colon) => {
                let colon = after_address + colon;
                (&self.host[..colon], &self.host[colon + 1..])
            }
            None => (&self.host, ""),
        }
    }

    fn query_values(&self) -> BTreeMap<String, Vec<String>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(name), Some(value)) = (decoded(name, true), decoded(value, true)) {
                values.entry(name).or_default().push(value);
            }
        }
        values
    }
}

impl Content for Url {
    fn kind() -> &'static Type {
        &TYPE
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    cel::add_overload!(env, fn url: (CelString) -> Result<Value>)?;
    cel::add_overload!(env, fn is_url: (CelString) -> CelBool, name = "isURL")?;
    cel::add_member_overload!(env, fn get_scheme: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn get_host: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn get_hostname: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn get_port: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn get_escaped_path: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn get_query: (Value) -> CelMap)
}

/// Whether a text is a URL.
pub(super) fn is(text: &str) -> bool {
    Url::parse(text).is_some()
}

fn url(text: &CelString<'_>) -> Result<Value> {
    Url::parse(text.inner())
        .map(Opaque)
        .ok_or_else(|| fails("url", &format!("`{}` is no URL", text.inner())))
}

fn is_url(text: &CelString<'_>) -> CelBool {
    is(text.inner()).into()
}

fn get_scheme(this: &Value) -> CelString<'static> {
    this.0.scheme.clone().into()
}

fn get_host(this: &Value) -> CelString<'static> {
    this.0.host.clone().into()
}

fn get_hostname(this: &Value) -> CelString<'static> {
    let (host, _) = this.0.host_and_port();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).to_string().into()
}

fn get_port(this: &Value) -> CelString<'static> {
    this.0.host_and_port().1.to_string().into()
}

fn get_escaped_path(this: &Value) -> CelString<'static> {
    this.0.path.clone().into()
}

fn get_query(this: &Value) -> CelMap<'static> {
    let values: HashMap<CelMapKey<'static>, Box<dyn Val>> = this
        .0
        .query_values()
        .into_iter()
        .map(|(name, values)| {
            let values: Vec<Box<dyn Val>> = values
                .into_iter()
                .map(|value| Box::new(CelString::from(value)) as Box<dyn Val>)
                .collect();
            let values: Box<dyn Val> = Box::new(CelList::from(values));
            (CelMapKey::from(name), values)
        })
        .collect();
    CelMap::from(values)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn has_good_port(host: &str) -> bool {
    let after_address = match (host.starts_with('['), host.rfind(']')) {
        (true, None) | (false, Some(_)) => return false,
        (_, at) => at.map_or(0, |at| at + 1),
    };
    let rest = &host[after_address..];
    match rest.find(':') {
        Some(colon) => rest[colon + 1..].bytes().all(|b| b.is_ascii_digit()),
        None => after_address == 0 || rest.is_empty(),
    }
}

// Undoes `%` escapes, and `+` in queries; `None` for an escape that is none.
fn decoded(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits =
                    [bytes.next()?, bytes.next()?].map(|digit| char::from(digit).to_digit(16));
                u8::try_from(digits[0]? * 16 + digits[1]?).ok()?
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

static TYPE: Type = Type::new_unspecified_type("kubernetes.URL");
