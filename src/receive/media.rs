//! Content types, as senders really write them.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// FHIR's own JSON type.
    FhirJson,
    /// FHIR's own XML type.
    FhirXml,
    /// JSON that need not be FHIR: `application/json`, `text/plain` (Microsoft), or no type at all.
    MaybeJson,
    MaybeXml,
    Form,
    Other,
}

/// The type, and the header as it came (for a Binary's `contentType`).
pub fn media(headers: &HeaderMap) -> Result<(Media, Option<String>), Verdict> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok((Media::MaybeJson, None)) };
    let text =
        value.to_str().map_err(|_| Verdict::UnsupportedMediaType("the Content-Type is not readable"))?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let media = match essence.trim().to_ascii_lowercase().as_str() {
        "application/fhir+json" | "application/json+fhir" => Media::FhirJson,
        "application/fhir+xml" | "application/xml+fhir" => Media::FhirXml,
        "application/json" | "text/json" | "text/plain" | "" => Media::MaybeJson,
        "application/xml" | "text/xml" => Media::MaybeXml,
        "application/x-www-form-urlencoded" => Media::Form,
        _ => Media::Other,
    };
    if matches!(media, Media::FhirJson | Media::FhirXml) && !is_utf8(parameters) {
        return Err(Verdict::UnsupportedMediaType("the charset is not UTF-8"));
    }
    Ok((media, Some(text.trim().to_owned())))
}

/// The class of a body, for a log.
pub fn media_name(headers: &HeaderMap) -> &'static str {
    match media(headers) {
        Ok((Media::FhirJson, _)) => "fhir-json",
        Ok((Media::FhirXml, _)) => "fhir-xml",
        Ok((Media::MaybeJson, None)) => "none",
        Ok((Media::MaybeJson, _)) => "json",
        Ok((Media::MaybeXml, _)) => "xml",
        Ok((Media::Form, _)) => "form",
        Ok((Media::Other, _)) => "other",
        Err(_) => "unreadable",
    }
}

fn is_utf8(parameters: &str) -> bool {
    let charset =
        parameters.split(';').filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
        });
    charset
        .is_none_or(|charset| matches!(charset.to_ascii_lowercase().as_str(), "utf-8" | "utf8" | "us-ascii"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Media, Verdict> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, text.parse().unwrap());
        media(&headers).map(|(media, _)| media)
    }

    #[test]
    fn each_sender_s_types_are_read() {
        assert_eq!(of("application/fhir+json; charset=UTF-8"), Ok(Media::FhirJson));
        assert_eq!(of("application/fhir+xml;charset=\"utf-8\""), Ok(Media::FhirXml));
        assert_eq!(of("Application/JSON"), Ok(Media::MaybeJson));
        assert_eq!(of("text/plain"), Ok(Media::MaybeJson));
        assert_eq!(of("application/pdf"), Ok(Media::Other));
        assert_eq!(media(&HeaderMap::new()).unwrap(), (Media::MaybeJson, None));
    }

    #[test]
    fn another_charset_is_415() {
        assert!(matches!(of("application/fhir+json; charset=UTF-16"), Err(Verdict::UnsupportedMediaType(_))));
    }
}
