//! Times and sizes as people write them.

use std::time::Duration;

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 8s, 500ms or 1h 30m"))
}

pub fn bytes(text: &str) -> Result<usize, String> {
    let size: bytesize::ByteSize =
        text.parse().map_err(|error| format!("{error}; write it as 5 MiB, 512 KiB or a number of bytes"))?;
    usize::try_from(size.as_u64()).map_err(|_| "too large for this machine".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_people_write_them() {
        assert_eq!(duration("8s").unwrap(), Duration::from_secs(8));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(bytes("5 MiB").unwrap(), 5 << 20);
        assert_eq!(bytes("5MB").unwrap(), 5_000_000);
        assert_eq!(bytes("1024").unwrap(), 1024);
        assert!(duration("8").unwrap_err().contains("write it as"));
        assert!(bytes("much").unwrap_err().contains("write it as"));
    }
}
