//! `meta.lastUpdated` in ten bytes: the instant, and in which of the usual ways it was written.

use jiff::Timestamp;
use jiff::tz::Offset;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Updated {
    micros: i64,
    /// Digits of the second's fraction: at most six
    digits: u8,
    /// Minutes east of Greenwich; None where it was written `Z`
    offset: Option<i16>,
}

/// None where the text would not come back letter by letter.
pub(super) fn encode(text: &str) -> Option<Updated> {
    let time = text.get(19..)?;
    let zone = time.find(['Z', '+', '-'])?;
    let (fraction, zone) = time.split_at(zone);
    let digits = u8::try_from(fraction.len().saturating_sub(1)).ok().filter(|digits| *digits <= 6)?;
    let offset = match zone {
        "Z" => None,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i16>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?;
            Some(if zone.starts_with('-') { -minutes } else { minutes })
        }
    };
    let micros = text.parse::<Timestamp>().ok()?.as_microsecond();
    let updated = Updated { micros, digits, offset };
    (updated.text()? == text).then_some(updated)
}

impl Updated {
    pub(super) fn text(self) -> Option<String> {
        let offset = Offset::from_seconds(i32::from(self.offset.unwrap_or(0)) * 60).ok()?;
        let at = offset.to_datetime(Timestamp::from_microsecond(self.micros).ok()?);
        let (date, time) = (at.date(), at.time());
        let mut text = String::with_capacity(32);
        push(&mut text, u32::try_from(date.year()).ok()?, 4);
        for (before, number) in [
            ('-', date.month()),
            ('-', date.day()),
            ('T', time.hour()),
            (':', time.minute()),
            (':', time.second()),
        ] {
            text.push(before);
            push(&mut text, number.unsigned_abs().into(), 2);
        }
        if self.digits > 0 {
            text.push('.');
            let nanos = time.subsec_nanosecond().unsigned_abs();
            push(&mut text, nanos / 10_u32.pow(9_u32.checked_sub(self.digits.into())?), self.digits);
        }
        match self.offset {
            None => text.push('Z'),
            Some(minutes) => {
                text.push(if minutes < 0 { '-' } else { '+' });
                push(&mut text, u32::from(minutes.unsigned_abs() / 60), 2);
                text.push(':');
                push(&mut text, u32::from(minutes.unsigned_abs() % 60), 2);
            }
        }
        Some(text)
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        // One number holds digits and zone: 0 is `Z`, others are shifted to be positive.
        let zone = self.offset.map_or(0, |minutes| (i32::from(minutes) + 0x1_0000) as u64);
        super::put(zone << 3 | u64::from(self.digits), out);
        super::put((self.micros as u64) << 1 ^ (self.micros >> 63) as u64, out);
    }

    pub(super) fn take(rest: &mut &[u8]) -> Option<Self> {
        let shape = super::take_number(rest)?;
        let zigzag = super::take_number(rest)?;
        let offset = match shape >> 3 {
            0 => None,
            zone => Some(i16::try_from(i64::try_from(zone).ok()? - 0x1_0000).ok()?),
        };
        Some(Self {
            micros: (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64),
            digits: (shape & 7) as u8,
            offset,
        })
    }
}

/// So many digits, zeros before: a format string would take most of the time of reading a record.
fn push(text: &mut String, number: u32, digits: u8) {
    for place in (0..u32::from(digits)).rev() {
        text.push(char::from(b'0' + (number / 10_u32.pow(place) % 10) as u8));
    }
}
