//! The extensions by which servers are told more than R4's Subscription can say, and how they are read.

use serde_json::Value;

pub const SEND_DELETES: &str =
    "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages";
pub const DELIVER_LATEST: &str =
    "http://hapifhir.io/fhir/StructureDefinition/subscription-resthook-deliver-latest-version";
pub const STRIP_VERSION_IDS: &str =
    "http://hapifhir.io/fhir/StructureDefinition/subscription-resthook-strip-version-ids";
pub const PAYLOAD_SEARCH: &str =
    "http://hapifhir.io/fhir/StructureDefinition/subscription-payload-search-criteria";
pub const RETRY_COUNT: &str = "http://hapifhir.io/fhir/StructureDefinition/subscription-delivery-retry-count";

/// Its documentation also shows it without `www.`; its source reads only this one.
pub const MEDPLUM_SECRET: &str = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret";
pub const MEDPLUM_INTERACTION: &str =
    "https://medplum.com/fhir/StructureDefinition/subscription-supported-interaction";
pub const MEDPLUM_ATTEMPTS: &str = "https://medplum.com/fhir/StructureDefinition/subscription-max-attempts";

/// The extension of this URL, or of a URL that ends so.
pub fn find<'a>(element: &'a Value, url: &str) -> Option<&'a Value> {
    let extensions = element["extension"].as_array()?;
    extensions.iter().find(|extension| extension["url"].as_str().is_some_and(|found| found.ends_with(url)))
}

/// Its `valueBoolean` is true.
pub fn is_on(element: &Value, url: &str) -> bool {
    find(element, url).is_some_and(|extension| extension["valueBoolean"] == true)
}

/// As people call it: without the place that it is defined at.
pub fn short(url: &str) -> &str {
    let name = url.rsplit('/').next().unwrap_or(url);
    name.trim_start_matches("subscription-").trim_start_matches("resthook-")
}
