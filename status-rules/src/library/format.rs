//! Named formats: `format.dns1123Label().validate(text)` is an optional list of what is wrong, none when nothing is;
//! `format.named(name)` is the format of a name, if there is one.

use cel::common::types::{CelList, CelOptional, CelString, Type};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use super::opaque::{Content, Opaque};
use super::{Declared, Result, text, url};

/// A format: its name in CEL and its rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    name: &'static str,
    fits: fn(&str) -> bool,
    /// Says what a text has to be.
    wanted: &'static str,
}

type Value = Opaque<Format>;

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Content for Format {
    fn kind() -> &'static Type {
        &TYPE
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    // A function of the crate carries no data, so each format has its own.
    macro_rules! formats {
        ($($at:literal),*) => {$(
            let name = format!("format.{}", FORMATS[$at].name);
            env.add_overload(&name, &name, vec![], |_| Ok(CowVal::owned(Opaque(FORMATS[$at]))))?;
        )*};
    }
    formats!(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    cel::add_overload!(env, fn named: (CelString) -> CelOptional, name = "format.named")?;
    env.add_member_overload(
        "validate",
        "format_validate",
        TYPE.to_owned(),
        vec![cel::common::types::STRING_TYPE],
        |args| validate(&args),
    )
}

/// Whether `format` has a function of that name.
pub(super) fn is_function(name: &str) -> bool {
    name == "named" || FORMATS.iter().any(|format| format.name == name)
}

fn named(name: &CelString<'_>) -> CelOptional<'static> {
    let found = FORMATS.iter().find(|format| format.name == name.inner());
    found.map_or_else(CelOptional::none, |format| {
        CelOptional::of(Box::new(Opaque(*format)))
    })
}

fn validate<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let format = args
        .first()
        .and_then(|format| format.downcast_ref::<Value>())
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    if (format.0.fits)(text(args, 1, "validate")?) {
        return Ok(CowVal::owned(CelOptional::none()));
    }
    let problem: Box<dyn Val> = Box::new(CelString::from(format.0.wanted));
    let problems: Box<dyn Val> = Box::new(CelList::from(vec![problem]));
    Ok(CowVal::owned(CelOptional::of(problems)))
}

fn label(text: &str, first: fn(u8) -> bool, prefix: bool) -> bool {
    let bytes = text.as_bytes();
    // What precedes more may end in a dash.
    let ends =
        |last: &u8| last.is_ascii_lowercase() || last.is_ascii_digit() || (prefix && *last == b'-');
    text.len() <= 63
        && bytes.first().is_some_and(|b| first(*b))
        && bytes.last().is_some_and(ends)
        && bytes.iter().all(|b| lower_or_digit(*b) || *b == b'-')
}

fn subdomain(text: &str, prefix: bool) -> bool {
    let (all_but_last, last) = text
        .rsplit_once('.')
        .map_or((None, text), |(a, l)| (Some(a), l));
    let part = |part: &str, prefix: bool| label(part, lower_or_digit, prefix);
    text.len() <= 253
        && all_but_last.is_none_or(|parts| parts.split('.').all(|one| part(one, false)))
        && part(last, prefix)
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn name_part(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => subdomain(domain, false) && name_part(name),
        None => name_part(text),
    }
}

fn uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| match dashes.contains(&at) {
                true => b == b'-',
                false => b.is_ascii_hexdigit(),
            })
}

fn base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - data.len() <= 2
        && data
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn date_time(text: &str) -> bool {
    text.len() > 10
        && text.as_bytes()[10].eq_ignore_ascii_case(&b't')
        && text.parse::<jiff::Timestamp>().is_ok()
}

static TYPE: Type = Type::new_unspecified_type("kubernetes.NamedFormat");

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";

const fn new(name: &'static str, fits: fn(&str) -> bool, wanted: &'static str) -> Format {
    Format { name, fits, wanted }
}

static FORMATS: [Format; 13] = [
    new(
        "dns1123Label",
        |text| label(text, lower_or_digit, false),
        LABEL,
    ),
    new(
        "dns1123LabelPrefix",
        |text| label(text, lower_or_digit, true),
        LABEL,
    ),
    new("dns1123Subdomain", |text| subdomain(text, false), SUBDOMAIN),
    new(
        "dns1123SubdomainPrefix",
        |text| subdomain(text, true),
        SUBDOMAIN,
    ),
    new(
        "dns1035Label",
        |text| label(text, |b| b.is_ascii_lowercase(), false),
        LABEL_1035,
    ),
    new(
        "dns1035LabelPrefix",
        |text| label(text, |b| b.is_ascii_lowercase(), true),
        LABEL_1035,
    ),
    new(
        "qualifiedName",
        qualified_name,
        "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, with an optional DNS subdomain prefix and '/'",
    ),
    new(
        "labelValue",
        |text| text.is_empty() || name_part(text),
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ),
    new("uri", url::is, "must be a valid URI"),
    new("uuid", uuid, "must be a valid UUID"),
    new("byte", base64, "must be base64 encoded"),
    new("date", date, "must be a date in the form YYYY-MM-DD"),
    new("datetime", date_time, "must be a time of RFC 3339"),
];
