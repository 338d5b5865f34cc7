//! Metered functions on texts, in the place of those of the strings extension: a result many times as long as the
//! arguments is charged before it is built, and searching takes linear time.

use cel::Env;
use cel::common::functions::Function;
use cel::common::types::{CelInt, CelList, CelString, DYN_TYPE};
use cel::common::value::{CowVal, Val};

use super::{Declared, Result, fails, integer, lists, text};
use crate::meter::{METER_TYPE, Meter};
use crate::value::{BYTES_PER_UNIT, text_size};

pub(super) fn declare(env: &mut Env) -> Declared {
    let mut add = |name: &str, arity: usize, function: Function| {
        let meter = std::iter::once(METER_TYPE.to_owned());
        let types = meter.chain((0..arity).map(|_| DYN_TYPE)).collect();
        env.add_overload(name, &format!("{name}/{arity}"), types, function)
    };
    add("@replace", 3, |args| replace(&args))?;
    add("@replace", 4, |args| replace(&args))?;
    add("@split", 2, |args| split(&args))?;
    add("@split", 3, |args| split(&args))?;
    add("@join", 1, |args| join(&args))?;
    add("@join", 2, |args| join(&args))?;
    add("@indexOf", 2, |args| index_of(&args))?;
    add("@indexOf", 3, |args| index_of(&args))?;
    add("@lastIndexOf", 2, |args| last_index_of(&args))?;
    add("@lastIndexOf", 3, |args| last_index_of(&args))
}

fn replace<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let [subject, from, to] = [1, 2, 3].map(|at| text(args, at, "replace"));
    let (subject, from, to) = (subject?, from?, to?);
    let most = match args.get(4) {
        Some(_) => usize::try_from(integer(args, 4, "replace")?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let meter = Meter::of(args)?;
    meter.charge(text_size(subject.len()))?;
    let found = subject.matches(from).take(most).count();
    meter.charge(text_size(found.saturating_mul(to.len())))?;
    let replaced = subject.replacen(from, to, found);
    Ok(CowVal::owned(CelString::from(replaced)))
}

// A list of one-letter texts weighs many times its text, so each byte counts for a whole unit.
fn split<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let (subject, separator) = (text(args, 1, "split")?, text(args, 2, "split")?);
    let most = match args.get(3) {
        Some(_) => usize::try_from(integer(args, 3, "split")?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    Meter::of(args)?.charge(text_size(subject.len().saturating_mul(BYTES_PER_UNIT)))?;
    let parts: Vec<String> = if most == 0 || (separator.is_empty() && subject.is_empty()) {
        Vec::new()
    } else if separator.is_empty() {
        let cut = subject.char_indices().nth(most - 1);
        let (letters, rest) = subject.split_at(cut.map_or(subject.len(), |(at, _)| at));
        let letters = letters.chars().map(String::from);
        letters
            .chain((!rest.is_empty()).then(|| rest.into()))
            .collect()
    } else {
        subject.splitn(most, separator).map(String::from).collect()
    };
    let parts: Vec<Box<dyn Val>> = parts
        .into_iter()
        .map(|part| Box::new(CelString::from(part)) as Box<dyn Val>)
        .collect();
    Ok(CowVal::owned(CelList::from(parts)))
}

fn join<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let list = lists::elements(args, 1, "join")?;
    let separator = match args.get(2) {
        Some(_) => text(args, 2, "join")?,
        None => "",
    };
    let parts = list
        .iter()
        .map(|part| {
            let part = part.downcast_ref::<CelString>().map(CelString::inner);
            part.ok_or_else(|| fails("join", "the list holds more than strings"))
        })
        .collect::<Result<Vec<&str>>>()?;
    let bytes = parts
        .iter()
        .map(|part| part.len().saturating_add(separator.len()))
        .fold(0, usize::saturating_add);
    Meter::of(args)?.charge(text_size(bytes))?;
    Ok(CowVal::owned(CelString::from(parts.join(separator))))
}

fn index_of<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    if args
        .get(1)
        .is_some_and(|value| value.downcast_ref::<CelList>().is_some())
    {
        return lists::index_of(args);
    }
    let function = "indexOf";
    let (subject, part) = (text(args, 1, function)?, text(args, 2, function)?);
    Meter::of(args)?.charge(text_size(subject.len()))?;
    let start = offset(args, subject, part, function)?.unwrap_or(0);
    let found = subject[start..].find(part);
    Ok(position(subject, found.map(|at| start + at)))
}

fn last_index_of<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    if args
        .get(1)
        .is_some_and(|value| value.downcast_ref::<CelList>().is_some())
    {
        return lists::last_index_of(args);
    }
    let function = "lastIndexOf";
    let (subject, part) = (text(args, 1, function)?, text(args, 2, function)?);
    Meter::of(args)?.charge(text_size(subject.len()))?;
    // The match may begin at the offset, so it may end after it.
    let end = match offset(args, subject, part, function)? {
        Some(start) => subject.floor_char_boundary(start.saturating_add(part.len())),
        None => subject.len(),
    };
    Ok(position(subject, subject[..end].rfind(part)))
}

// The byte that the letter at the offset begins at. Nothing, the empty text, is found beyond the end too.
fn offset(
    args: &[CowVal<'_, '_>],
    subject: &str,
    part: &str,
    function: &str,
) -> Result<Option<usize>> {
    if args.get(3).is_none() {
        return Ok(None);
    }
    let offset = integer(args, 3, function)?;
    let letter = usize::try_from(offset).ok();
    let start = letter.and_then(|letter| {
        let mut starts = subject.char_indices().map(|(at, _)| at);
        let beyond = part.is_empty().then_some(subject.len());
        starts.nth(letter).or(beyond)
    });
    start
        .map(Some)
        .ok_or_else(|| fails(function, &format!("index out of range: {offset}")))
}

// Positions are letters, not bytes.
fn position<'b, 'v>(subject: &str, found: Option<usize>) -> CowVal<'b, 'v> {
    let letters = found.map(|at| subject[..at].chars().count());
    let position = letters.and_then(|letters| i64::try_from(letters).ok());
    CowVal::owned(CelInt::from(position.unwrap_or(-1)))
}
