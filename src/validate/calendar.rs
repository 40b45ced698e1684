//! Dates and times of R4: real days only, a time of day only with its offset.

/// `2024`, `2024-02` or `2024-02-29`.
pub(super) fn date(text: &[u8]) -> bool {
    date_at_start(text) == Some(text.len())
}

/// A date, or a whole date with time and offset.
pub(super) fn date_time(text: &[u8]) -> bool {
    date(text) || instant(text)
}

/// Date, time to the second and offset.
pub(super) fn instant(text: &[u8]) -> bool {
    if date_at_start(text) != Some(10) || text.get(10) != Some(&b'T') {
        return false;
    }
    time_at_start(&text[11..]).is_some_and(|length| offset(&text[11 + length..]))
}

/// `14:30:00`, with a fraction if need be, without an offset.
pub(super) fn time(text: &[u8]) -> bool {
    time_at_start(text) == Some(text.len())
}

/// How many bytes of a date stand at the start: 4, 7 or 10.
fn date_at_start(text: &[u8]) -> Option<usize> {
    let year = u32::from(two_digits(text, 0)?) * 100 + u32::from(two_digits(text, 2)?);
    if year == 0 {
        return None;
    }
    if text.get(4) != Some(&b'-') {
        return Some(4);
    }
    let month = two_digits(text, 5)?;
    if !(1..=12).contains(&month) {
        return None;
    }
    if text.get(7) != Some(&b'-') {
        return Some(7);
    }
    (1..=days(year, month)).contains(&two_digits(text, 8)?).then_some(10)
}

fn days(year: u32, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Second 60 is a leap second, hour 24 does not exist in R4.
fn time_at_start(text: &[u8]) -> Option<usize> {
    let in_range = two_digits(text, 0)? <= 23
        && text.get(2) == Some(&b':')
        && two_digits(text, 3)? <= 59
        && text.get(5) == Some(&b':')
        && two_digits(text, 6)? <= 60;
    if !in_range {
        return None;
    }
    if text.get(8) != Some(&b'.') {
        return Some(8);
    }
    let fraction = super::primitive::digits_at_start(&text[9..]);
    (fraction > 0).then_some(9 + fraction)
}

fn offset(text: &[u8]) -> bool {
    match text {
        b"Z" => true,
        [b'+' | b'-', offset @ ..] if offset.len() == 5 && offset[2] == b':' => {
            match (two_digits(offset, 0), two_digits(offset, 3)) {
                (Some(hours), Some(minutes)) => (hours < 14 && minutes < 60) || (hours == 14 && minutes == 0),
                _ => false,
            }
        }
        _ => false,
    }
}

fn two_digits(text: &[u8], at: usize) -> Option<u8> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    }
}
