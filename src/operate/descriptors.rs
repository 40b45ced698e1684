//! Open files. Each connection is one, in and out: where they run out, not even HealthLake can be reached.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside connections: listeners, files, STS, DynamoDB, the CDR.
const OTHERS: usize = 128;
const AT_LEAST: usize = 16;

/// How many of `wanted` connections the process may have, beside `upstream` to HealthLake. A soft limit below the hard
/// one is raised for it: shells and service managers leave it at 1024 for the sake of programs that use `select`.
pub fn connections(wanted: usize, upstream: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, hard) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let Some(files) = limit.and_then(|files| usize::try_from(files).ok()) else { return wanted };
    let most = within(files, wanted, upstream);
    if most < wanted {
        tracing::warn!(
            files,
            "the process may have {files} open files: {most} connections are taken, not the {wanted} of --max-connections; raise the limit (ulimit -n, LimitNOFILE)"
        );
    }
    most
}

fn within(files: usize, wanted: usize, upstream: usize) -> usize {
    wanted.min(files.saturating_sub(upstream.saturating_add(OTHERS)).max(AT_LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_is_left_to_them() {
        assert_eq!(within(32_768, 8_192, 256), 8_192);
        assert_eq!(within(1_024, 8_192, 256), 1_024 - 256 - OTHERS);
        assert_eq!(within(64, 8_192, 256), AT_LEAST);
    }
}
