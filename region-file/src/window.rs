//! Windows of time in which RDS may work: daily for backups, weekly for maintenance.

use std::ops::RangeInclusive;

use super::grammar::{Fault, fault};

/// Minutes from midnight, `hh:mm-hh:mm`; the end may be on the next day.
pub(super) fn daily(text: &str) -> Result<RangeInclusive<u32>, Fault> {
    let window = text
        .split_once('-')
        .and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)));
    let Some((from, to)) = window else {
        return Err(fault(
            text,
            "no daily window",
            "write one such as `03:00-04:00` (UTC)",
        ));
    };
    long_enough(text, from, to, DAY)
}

/// Minutes from Monday's midnight, `ddd:hh:mm-ddd:hh:mm`; the end may be in the next week.
pub(super) fn weekly(text: &str) -> Result<RangeInclusive<u32>, Fault> {
    let moment = |text: &str| {
        let (day, time) = text.split_once(':')?;
        let day = DAYS.iter().position(|name| *name == day)?;
        Some(u32::try_from(day).ok()? * DAY + minutes(time)?)
    };
    let window = text
        .split_once('-')
        .and_then(|(from, to)| Some((moment(from)?, moment(to)?)));
    let Some((from, to)) = window else {
        return Err(fault(
            text,
            "no weekly window",
            "write one such as `mon:04:00-mon:05:00` (UTC)",
        ));
    };
    let window = long_enough(text, from, to, WEEK)?;
    if window.end() - window.start() > DAY {
        return Err(fault(
            text,
            "longer than 24 hours",
            "write a shorter window",
        ));
    }
    Ok(window)
}

/// Whether a daily and a weekly window touch each other, which RDS refuses.
pub(super) fn overlap(daily: &RangeInclusive<u32>, weekly: &RangeInclusive<u32>) -> bool {
    // From the day before the week to the day after it, as either window may cross midnight.
    (0..=9).any(|day| {
        let (from, to) = (day * DAY + daily.start(), day * DAY + daily.end());
        let (start, end) = (weekly.start() + DAY, weekly.end() + DAY);
        from < end && start < to
    })
}

fn long_enough(text: &str, from: u32, to: u32, round: u32) -> Result<RangeInclusive<u32>, Fault> {
    let to = if to <= from { to + round } else { to };
    if to - from < 30 {
        return Err(fault(
            text,
            "shorter than 30 minutes",
            "write a longer window",
        ));
    }
    Ok(from..=to)
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str, most: u32| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| part.parse::<u32>().ok())
            .flatten()
            .filter(|number| *number < most)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_cross_midnight_or_the_week_are_seen_to_overlap() {
        let touches = |day, week| overlap(&daily(day).unwrap(), &weekly(week).unwrap());
        assert!(!touches("03:00-04:00", "mon:04:00-mon:05:00"));
        assert!(touches("03:00-04:30", "mon:04:00-mon:05:00"));
        assert!(touches("23:45-00:15", "mon:00:00-mon:01:00"));
        assert!(touches("00:00-00:30", "sun:23:45-mon:00:15"));
        assert!(!touches("00:15-00:45", "sun:23:30-mon:00:15"));
    }

    #[test]
    fn windows_too_short_too_long_or_malformed_are_refused() {
        for text in [
            "3:00-4:00",
            "03:00",
            "03:00-03:20",
            "24:00-01:00",
            "03:00-04:60",
        ] {
            assert!(daily(text).is_err(), "{text}");
        }
        for text in [
            "mon:04:00-tue:05:00",
            "Mon:04:00-Mon:05:00",
            "mon:04:00-05:00",
        ] {
            assert!(weekly(text).is_err(), "{text}");
        }
    }
}
