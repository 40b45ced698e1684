#![allow(clippy::unwrap_used)]

use super::*;

fn there(version: &str) -> Side {
    Side::There { version: Some(version.into()), last_updated: None }
}

fn line(verdict: &str) -> Line {
    Line {
        at: Timestamp::UNIX_EPOCH,
        delivery: "d".into(),
        key: Some("Patient/1".into()),
        interaction: "upsert".into(),
        source: "live".into(),
        version_id: Some("1".into()),
        verdict: verdict.into(),
        healthlake_status: None,
        healthlake_request_id: None,
        milliseconds: 1.0,
    }
}

fn advise(cdr: Option<Side>, healthlake: Side, order: Order, last: Option<&str>) -> String {
    let deliveries = last.map(line).into_iter().collect();
    let key = "Patient/1".into();
    advise_of(Explained {
        key,
        deliveries,
        order,
        cdr,
        healthlake,
        filter_rule: None,
        letters: Vec::new(),
        advice: Vec::new(),
    })
}

fn advise_of(explained: Explained) -> String {
    advice(&explained).join("\n")
}

#[test]
fn what_the_filter_keeps_out_is_not_taken_for_lost() {
    let kept_out = |healthlake| {
        advise_of(Explained {
            key: "Patient/1".into(),
            deliveries: vec![line("filtered")],
            order: Order { filtered: true, ..forwarded("2", 1) },
            cdr: Some(there("2")),
            healthlake,
            filter_rule: Some("deny-security-labels".into()),
            letters: Vec::new(),
            advice: Vec::new(),
        })
    };
    let absent = kept_out(Side::Gone);
    assert!(absent.contains("--filter-deny-security-labels") && !absent.contains("resend"), "{absent}");
    let there = kept_out(there("4"));
    assert!(there.contains("the filter deletes it there"), "{there}");
    assert!(Order { filtered: true, ..forwarded("2", 1) }.told().starts_with("kept out version 2"));
}

fn forwarded(version: &str, etag: u64) -> Order {
    let version = Version::new(Some(version), None);
    Order { forwarded: Some(version), healthlake_version: Some(etag), ..Order::default() }
}

#[test]
fn each_state_of_the_two_sides_leads_to_its_own_advice() {
    let none = Order::default;
    let cases = [
        (advise(Some(there("2")), Side::Gone, none(), None), "Look at the Subscription"),
        (advise(Some(there("2")), Side::Gone, none(), Some("not-mirrored")), "does not support this type"),
        (advise(Some(there("2")), Side::Gone, none(), Some("invalid")), "ended as invalid"),
        (advise(Some(Side::Gone), there("4"), none(), None), "the delete"),
        (advise(Some(Side::Gone), Side::Gone, none(), None), "nothing to do"),
        (advise(Some(there("3")), there("9"), forwarded("2", 9), None), "version 2 was forwarded"),
        (advise(Some(there("3")), there("9"), forwarded("3", 8), None), "somebody else writes"),
        (advise(Some(there("3")), there("9"), forwarded("3", 9), Some("mirrored")), "nothing to do"),
        (advise(Some(there("3")), there("9"), none(), None), "nothing is remembered"),
        (advise(None, there("9"), none(), None), "--cdr-url"),
        (advise(None, Side::Unknown { why: "cut".into() }, none(), None), "can't be asked: cut"),
        (advise(Some(there("2")), Side::Gone, none(), Some("throttled")), "throttled: ask AWS"),
    ];
    for (advice, says) in cases {
        assert!(advice.contains(says), "{says}: {advice}");
    }
}
