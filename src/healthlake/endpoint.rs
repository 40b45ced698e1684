//! The data store's URL. Smile CDR's sample gives it without `/r4`, DescribeFHIRDatastore with `/r4/`, and
//! other prefixes may stand before `/r4`: all are taken, the shape is not hard-coded.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use reqwest::Url;

use crate::delivery::Key;

#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Ends in `/r4`, without a slash behind it.
    base: String,
    url: Url,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("is not a URL ({0})")]
    NotAUrl(String),
    #[error("has the scheme `{0}`; use https://")]
    Scheme(String),
    #[error(
        "is plain http:// to a host that is not loopback; use https://, or allow it with --allow-insecure-upstream"
    )]
    Insecure,
    #[error("carries a user name, a query or a fragment; remove it")]
    Extra,
    #[error("has no path; it ends in /datastore/{{id}} or /datastore/{{id}}/r4")]
    NoPath,
}

impl Endpoint {
    pub fn parse(text: &str, allow_insecure: bool) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|e| EndpointError::NotAUrl(e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(EndpointError::Extra);
        }
        if url.fragment().is_some() {
            return Err(EndpointError::Extra);
        }
        let host = url.host_str().ok_or_else(|| EndpointError::NotAUrl("no host".into()))?.to_owned();
        match url.scheme() {
            "https" => {}
            "http" if allow_insecure || is_loopback(&host) => {}
            "http" => return Err(EndpointError::Insecure),
            other => return Err(EndpointError::Scheme(other.to_owned())),
        }
        let path = url.path().trim_end_matches('/');
        if path.is_empty() {
            return Err(EndpointError::NoPath);
        }
        let r4 = if path.ends_with("/r4") { "" } else { "/r4" };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let base = format!("{}://{host}{port}{path}{r4}", url.scheme());
        let url = Url::parse(&base).map_err(|e| EndpointError::NotAUrl(e.to_string()))?;
        Ok(Self { base, url, host })
    }

    pub fn resource(&self, key: &Key) -> Url {
        self.below([key.resource_type(), key.id()])
    }

    pub fn metadata(&self) -> Url {
        self.below(["metadata"])
    }

    /// Parses nothing but the segments.
    fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.url.clone();
        // An http URL has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    /// Header `host` as the client sends it: with a port only where the URL has one.
    pub fn authority(&self) -> HeaderValue {
        let authority = self.base.split('/').nth(2).unwrap_or(&self.host);
        HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// None where it is the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.url.port()
    }

    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// The id behind `/datastore/`
    pub fn datastore_id(&self) -> Option<&str> {
        let (_, rest) = self.base.split_once("/datastore/")?;
        rest.split('/').next().filter(|id| !id.is_empty())
    }

    /// The region in an AWS host name: `healthlake[-fips].{region}.amazonaws.com` or `….{region}.api.aws`.
    pub fn region(&self) -> Option<&str> {
        let mut labels = self.host.split('.');
        if !labels.next()?.starts_with("healthlake") {
            return None;
        }
        let region = labels.next()?;
        let rest = self.host.rsplit_once(region)?.1;
        matches!(rest, ".amazonaws.com" | ".api.aws").then_some(region)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// `localhost` or a loopback address, as URLs write them.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STORE: &str =
        "https://healthlake.us-east-1.amazonaws.com/datastore/0123456789abcdef0123456789abcdef";

    #[test]
    fn the_endpoint_is_taken_with_and_without_r4_and_slash() {
        for tail in ["", "/", "/r4", "/r4/"] {
            let endpoint = Endpoint::parse(&format!("{STORE}{tail}"), false).unwrap();
            assert_eq!(endpoint.metadata().as_str(), format!("{STORE}/r4/metadata"), "{tail}");
            let key = Key::new("Patient", "p.1").unwrap();
            assert_eq!(endpoint.resource(&key).as_str(), format!("{STORE}/r4/Patient/p.1"), "{tail}");
        }
    }

    #[test]
    fn the_authority_has_a_port_where_the_url_has_one() {
        for (url, authority) in [
            (STORE, "healthlake.us-east-1.amazonaws.com"),
            (
                "https://healthlake.us-east-1.amazonaws.com:443/datastore/a",
                "healthlake.us-east-1.amazonaws.com",
            ),
            ("http://[::1]:8180/datastore/a", "[::1]:8180"),
        ] {
            assert_eq!(Endpoint::parse(url, false).unwrap().authority(), authority);
        }
    }

    #[test]
    fn prefixes_before_r4_are_kept() {
        let endpoint = Endpoint::parse(&format!("{STORE}/patientaccess/v2/r4/"), false).unwrap();
        assert_eq!(endpoint.metadata().as_str(), format!("{STORE}/patientaccess/v2/r4/metadata"));
    }

    #[test]
    fn the_region_is_read_from_an_aws_host_only() {
        let region = |url: &str| Endpoint::parse(url, false).unwrap().region().map(str::to_owned);
        assert_eq!(region(STORE).as_deref(), Some("us-east-1"));
        assert_eq!(
            region("https://healthlake-fips.us-west-2.amazonaws.com/datastore/a").as_deref(),
            Some("us-west-2")
        );
        assert_eq!(region("https://healthlake.eu-west-1.api.aws/datastore/a").as_deref(), Some("eu-west-1"));
        assert_eq!(region("https://healthlake.example.org/datastore/a"), None);
        assert_eq!(region("http://127.0.0.1:8180/datastore/a"), None);
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for ok in
            ["http://127.0.0.1:1/datastore/a", "http://localhost/datastore/a", "http://[::1]:1/datastore/a"]
        {
            Endpoint::parse(ok, false).unwrap();
        }
        let far = "http://healthlake.example.org/datastore/a";
        assert_eq!(Endpoint::parse(far, false), Err(EndpointError::Insecure));
        Endpoint::parse(far, true).unwrap();
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        assert!(matches!(Endpoint::parse("healthlake", false), Err(EndpointError::NotAUrl(_))));
        assert!(matches!(Endpoint::parse("ftp://h/datastore/a", false), Err(EndpointError::Scheme(_))));
        assert_eq!(Endpoint::parse("https://h/", false), Err(EndpointError::NoPath));
        for extra in ["https://u:p@h/datastore/a", "https://h/datastore/a?x=1", "https://h/datastore/a#x"] {
            assert_eq!(Endpoint::parse(extra, false), Err(EndpointError::Extra), "{extra}");
        }
    }
}
