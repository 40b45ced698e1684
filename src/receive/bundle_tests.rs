#![allow(clippy::unwrap_used)]

use super::*;

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    #[serde(borrow)]
    entry: Option<&'a RawValue>,
}

fn read(json: &'static str) -> Result<Vec<String>, Verdict> {
    let bytes = Bytes::from_static(json.as_bytes());
    let raw: Raw<'_> = serde_json::from_slice(&bytes).unwrap();
    match items(&bytes, raw.kind, raw.entry)? {
        Items::Resource => Ok(vec!["resource".into()]),
        Items::Entries(_, items) => Ok(items
            .into_iter()
            .map(|item| match item {
                Item::Acknowledge => "acknowledge".to_owned(),
                Item::Deliver(Delivery::Upsert { addressed, json, .. }) => {
                    format!(
                        "upsert {} {}",
                        addressed.key().unwrap(),
                        String::from_utf8(json.to_vec()).unwrap()
                    )
                }
                Item::Deliver(Delivery::Delete { key }) => format!("delete {key}"),
                Item::Deliver(Delivery::Changed { key }) => format!("changed {key}"),
            })
            .collect()),
    }
}

#[test]
fn a_transaction_of_puts_and_deletes_is_read_in_order_and_byte_for_byte() {
    let items = read(
        r#"{"type":"transaction","entry":[
        {"resource":{"resourceType":"Patient","id":"a","x": 1.50 },"request":{"method":"PUT","url":"Patient/a"}},
        {"request":{"method":"DELETE","url":"http://cdr/fhir/Patient/b"}}]}"#,
    );
    assert_eq!(
        items.unwrap(),
        [r#"upsert Patient/a {"resourceType":"Patient","id":"a","x": 1.50 }"#, "delete Patient/b"]
    );
}

#[test]
fn other_entries_refuse_the_whole_bundle() {
    for json in [
        r#"{"type":"batch","entry":[{"request":{"method":"GET","url":"Patient/a"}}]}"#,
        r#"{"type":"batch","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}]}"#,
        r#"{"type":"batch","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"PUT","url":"Patient?identifier=a"}}]}"#,
        r#"{"type":"batch","entry":[{"request":{"method":"PUT","url":"Patient/a"}}]}"#,
        r#"{"type":"batch","entry":[{"request":{"method":"DELETE","url":"Patient/.."}}]}"#,
        r#"{"type":"batch","entry":[{"resource":{"resourceType":"Patient","id":"a"}}]}"#,
    ] {
        assert_eq!(read(json), Err(BAD_ENTRY), "{json}");
    }
}

#[test]
fn handshake_and_heartbeat_are_acknowledged_in_both_shapes() {
    for json in [
        r#"{"type":"history","entry":[{"resource":{"resourceType":"Parameters","parameter":[{"name":"subscription","valueReference":{"reference":"Subscription/1"}},{"name":"type","valueCode":"handshake"}]}}]}"#,
        r#"{"type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"heartbeat"}}]}"#,
        r#"{"type":"subscription-notification","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"handshake"}}]}"#,
    ] {
        assert_eq!(read(json).unwrap(), ["acknowledge"], "{json}");
    }
}

#[test]
fn an_event_delivers_each_resource_deletes_included() {
    let json = r#"{"type":"history","entry":[
        {"resource":{"resourceType":"SubscriptionStatus","type":"event-notification"}},
        {"fullUrl":"http://cdr/Patient/a","resource":{"resourceType":"Patient","id":"a"},"request":{"method":"POST","url":"Patient"}},
        {"fullUrl":"http://cdr/Patient/b","request":{"method":"DELETE","url":"Patient/b"}}]}"#;
    assert_eq!(
        read(json).unwrap(),
        ["acknowledge", r#"upsert Patient/a {"resourceType":"Patient","id":"a"}"#, "delete Patient/b"]
    );
}

#[test]
fn id_only_and_empty_name_what_has_to_be_read() {
    let id_only = r#"{"type":"history","entry":[
        {"resource":{"resourceType":"SubscriptionStatus","type":"event-notification"}},
        {"fullUrl":"http://cdr/fhir/Patient/a/_history/3"}]}"#;
    assert_eq!(read(id_only).unwrap(), ["acknowledge", "changed Patient/a"]);
    let focus = r#"{"type":"history","entry":[{"resource":{"resourceType":"Parameters","parameter":[
        {"name":"subscription","valueReference":{"reference":"Subscription/1"}},{"name":"type","valueCode":"event-notification"},
        {"name":"notification-event","part":[{"name":"focus","valueReference":{"reference":"Patient/b"}}]}]}}]}"#;
    assert_eq!(read(focus).unwrap(), ["acknowledge", "changed Patient/b"]);
    let microsoft = r#"{"type":"history","entry":[{"resource":{"resourceType":"Parameters","parameter":[
        {"name":"subscription","valueReference":{"reference":"Subscription/1"}},{"name":"type","valueCode":"event-notification"},
        {"name":"notification-event","part":[{"name":"focus","valueUri":"http://cdr/fhir/Patient/c"}]}]}}]}"#;
    assert_eq!(read(microsoft).unwrap(), ["acknowledge", "changed Patient/c"]);
    let empty = r#"{"type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"event-notification"}}]}"#;
    assert_eq!(read(empty), Err(Verdict::BadRequest(BadRequest::NoContentAndNoCdr)));
}

#[test]
fn documents_and_collections_are_resources() {
    for json in [r#"{"type":"document","entry":[]}"#, r#"{"type":"collection"}"#] {
        assert_eq!(read(json).unwrap(), ["resource"], "{json}");
    }
    assert_eq!(read(r#"{"type":"history","entry":[]}"#), Err(BAD_BUNDLE));
}
