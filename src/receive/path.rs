//! What a URL below the base path names. Read from the raw path: nothing is decoded, so nothing that is
//! encoded can become a part of the signed URL.

use crate::delivery::{Key, is_id, is_resource_type};
use crate::verdict::{BadRequest, Verdict};

/// What stands behind the base path.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Base,
    Type(Box<str>),
    Resource(Key),
}

/// `GET`, `_history`, operations: none of them changes the mirror.
pub fn target(rest: &str) -> Result<Target, Verdict> {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Target::Base);
    }
    let mut segments = rest.split('/');
    let (first, second, third) = (segments.next().unwrap_or_default(), segments.next(), segments.next());
    let bad = Verdict::BadRequest(BadRequest::BadPath);
    let reads = |segment: &str| segment.starts_with(['_', '$']) || segment == "metadata";
    match (first, second, third) {
        (first, _, _) if reads(first) => Err(Verdict::MethodNotAllowed { allow: "POST" }),
        (first, _, _) if !is_resource_type(first) => Err(bad),
        (first, None, None) => Ok(Target::Type(first.into())),
        (_, Some(second), _) if reads(second) => Err(Verdict::MethodNotAllowed { allow: "POST" }),
        (_, Some(second), _) if !is_id(second) => Err(bad),
        (first, Some(second), None) => Key::new(first, second).map(Target::Resource).map_err(|_| bad),
        (_, Some(_), Some(third)) if reads(third) => Err(Verdict::MethodNotAllowed { allow: "PUT, DELETE" }),
        _ => Err(bad),
    }
}

/// The shape of a path, as `/fhir/{Type}/{id}`, for traces: nothing that a sender chose is in it. None where it is not
/// that of a delivery.
pub fn route(base_path: &str, path: &str) -> Option<String> {
    let rest = path.strip_prefix(base_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let shape = match target(rest).ok()? {
        Target::Base => "",
        Target::Type(_) => "/{Type}",
        Target::Resource(_) => "/{Type}/{id}",
    };
    Some(format!("{base_path}{shape}"))
}

impl Target {
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Base | Self::Type(_) => "POST",
            Self::Resource(_) => "PUT, DELETE",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shapes() {
        for base in ["", "/"] {
            assert_eq!(target(base), Ok(Target::Base));
        }
        assert_eq!(target("/Patient"), Ok(Target::Type("Patient".into())));
        let key = Key::new("Patient", "p.1-A").unwrap();
        assert_eq!(target("/Patient/p.1-A"), Ok(Target::Resource(key.clone())));
        assert_eq!(target("/Patient/p.1-A/"), Ok(Target::Resource(key)));
        assert_eq!(
            target("/Sesame/1"),
            Ok(Target::Resource(Key::new("Sesame", "1").unwrap())),
            "no list of types"
        );
    }

    #[test]
    fn a_route_is_a_shape_and_holds_nothing_of_the_path() {
        for (path, expected) in [
            ("/fhir", Some("/fhir")),
            ("/fhir/Patient", Some("/fhir/{Type}")),
            ("/fhir/Patient/p1", Some("/fhir/{Type}/{id}")),
            ("/fhir/Patient/p1/_history", None),
            ("/fhir/Patient/p%201", None),
            ("/fhirs/Patient/p1", None),
            ("/", None),
        ] {
            assert_eq!(route("/fhir", path).as_deref(), expected, "{path}");
        }
        assert_eq!(route("", "/Patient/p1").as_deref(), Some("/{Type}/{id}"));
    }

    #[test]
    fn reads_and_operations_are_not_allowed() {
        for path in [
            "/metadata",
            "/_history",
            "/$export",
            "/Patient/_history",
            "/Patient/_search",
            "/Patient/$validate",
            "/Patient/1/_history",
            "/Patient/1/_history/2",
            "/Patient/1/$everything",
        ] {
            assert!(matches!(target(path), Err(Verdict::MethodNotAllowed { .. })), "{path}");
        }
    }

    #[test]
    fn tricks_are_refused_not_decoded() {
        for path in [
            "/Patient/..",
            "/Patient/.",
            "/../Patient/1",
            "/Patient/%2e%2e",
            "/Patient/a%2Fb",
            "/Patient/a%00",
            "/Patient//1",
            "//Patient/1",
            "/Patient/1/2",
            "/patient/1",
            "/Patient/a;b",
            "/Patient/a\\b",
            "/Patient/1//",
            "/Patient/a:b",
            "/Pat%69ent/1",
        ] {
            assert_eq!(target(path), Err(Verdict::BadRequest(BadRequest::BadPath)), "{path}");
        }
    }
}
