//! What each recording is answered with.

use serde_json::{Value, json};

/// Recording, status, verdict (or why it is a bad request), requests that reach HealthLake.
pub type Row = (&'static str, u16, &'static str, usize);

/// What is told of one resource, in the order it came, and whether HealthLake has it at the end.
pub struct Story {
    pub rows: &'static [Row],
    pub ends: &'static [(&'static str, End)],
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum End {
    Alive,
    Gone,
}
use End::{Alive, Gone};

const fn story(rows: &'static [Row], ends: &'static [(&'static str, End)]) -> Story {
    Story { rows, ends }
}

#[rustfmt::skip]
pub const STORIES: &[Story] = &[
    story(&[
        ("create-patient-json", 201, "mirrored", 1),
        ("update-patient-json", 200, "mirrored", 1),
        ("delete-patient-json", 204, "mirrored", 1),
        // Both came before the delete: a late second delivery of either brings nothing back.
        ("update-patient-json", 200, "superseded", 0),
        ("create-patient-json", 200, "superseded", 0),
        ("delete-patient-json", 204, "already-gone", 1),
    ], &[("Patient/p-basic", Gone)]),
    story(&[
        ("create-patient-xml", 201, "mirrored", 1),
        ("update-patient-xml", 200, "mirrored", 1),
        ("delete-patient-xml", 204, "mirrored", 1),
    ], &[("Patient/p-xml", Gone)]),
    story(&[("create-payload-application-json", 201, "mirrored", 1)], &[("Patient/p-payload-application-json", Alive)]),
    story(&[
        ("numeric-id-create", 201, "mirrored", 1),
        ("numeric-id-delete", 204, "mirrored", 1),
    ], &[("Patient/4711", Gone)]),
    story(&[
        ("auth-header-create", 201, "mirrored", 1),
        ("auth-header-delete", 204, "mirrored", 1),
    ], &[("Patient/p-auth", Gone)]),
    story(&[("star-observation", 201, "mirrored", 1)], &[("Observation/o-star", Alive)]),
    story(&[("trigger-searchurl", 201, "mirrored", 1)], &[("Patient/p-trig-0", Alive)]),

    story(&[("star-binary-pdf-put", 201, "mirrored", 1)], &[("Binary/b-pdf", Alive)]),
    story(&[("star-binary-pdf-posted-server-id", 201, "mirrored", 1)],
        &[("Binary/f291efbc-4766-4d63-901f-19350c34b874", Alive)]),
    story(&[("binary-pdf-payload-xml", 201, "mirrored", 1)], &[("Binary/b-pdf2", Alive)]),
    story(&[("binary-pdf-written-as-fhir-json", 201, "mirrored", 1)], &[("Binary/b-json", Alive)]),
    // Of all contentTypes only FHIR's own is sent as the resource, base64 and all.
    story(&[("binary-contenttype-fhir-json", 201, "mirrored", 1)], &[("Binary/b-fhir", Alive)]),
    // R4 asks for `contentType`, and HAPI lets it be missing: HealthLake would refuse it.
    story(&[("binary-without-contenttype", 422, "invalid", 0)], &[("Binary/b-notype", Gone)]),

    story(&[
        ("latest-create", 201, "mirrored", 1),
        ("latest-delete", 204, "mirrored", 1),
    ], &[("Patient/p-latest", Gone)]),
    story(&[
        ("latest-strip-create", 201, "mirrored", 1),
        ("latest-strip-delete", 204, "mirrored", 1),
    ], &[("Patient/p-latest-strip", Gone)]),
    // The second is all that HAPI sends for the delete of the Device: it names nothing.
    story(&[
        ("search-criteria-transaction", 200, "mirrored", 2),
        ("search-criteria-delete", 200, "", 0),
    ], &[("Device/d-1", Alive), ("Organization/o-search", Alive)]),
    story(&[("endpoint-trailing-slash", 201, "mirrored", 1)], &[("Patient/p-slash", Alive)]),
    story(&[("endpoint-with-query", 400, "query-in-endpoint", 0)], &[("Patient/p-query", Gone)]),
    story(&[
        ("nopayload-create", 400, "no-payload", 0),
        ("nopayload-update", 400, "no-payload", 0),
        ("nopayload-delete", 400, "no-payload", 0),
        ("nopayload-answered-500", 400, "no-payload", 0),
    ], &[]),

    story(&[
        ("retry-first-attempt", 201, "mirrored", 1),
        ("retry-second-attempt", 200, "mirrored", 1),
    ], &[("Patient/a-422-oo-x", Alive)]),
    story(&[
        ("overtaken-update-v2", 201, "mirrored", 1),
        ("overtaken-stale-v1-retried-after-v2", 200, "superseded", 0),
    ], &[("Patient/p-overtaken", Alive)]),
    story(&[
        ("overtaken-put-v1-retried-after-delete", 201, "mirrored", 1),
        ("overtaken-delete", 204, "mirrored", 1),
        ("overtaken-put-v1-retried-after-delete", 200, "superseded", 0),
    ], &[("Patient/p-overtaken-by-delete", Gone)]),
];

/// What the recordings in XML say.
pub fn xml_says(file: &str) -> Value {
    match file {
        "create-patient-xml" => json!({"resourceType": "Patient", "id": "p-xml", "active": true,
            "meta": {"source": "#NTL9Sa2cZTe9bAwc"}, "name": [{"family": "F1"}]}),
        "update-patient-xml" => json!({"resourceType": "Patient", "id": "p-xml", "active": true,
            "meta": {"source": "#uojSeRwwWGDf2Gq0"}, "name": [{"family": "F2"}]}),
        _ => panic!("say here what {file} says"),
    }
}
