//! The body: bounded in size and in time, gunzipped within the same bounds.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use crate::verdict::{BadRequest, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Verdict> {
    let unsupported = Verdict::UnsupportedMediaType("of content encodings only gzip is read");
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Encoding::Identity) };
    if values.next().is_some() {
        return Err(unsupported);
    }
    match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        _ => Err(unsupported),
    }
}

/// What a delivery may come to hold in memory (bytes), as far as its head tells: of gzip both what came and what it
/// becomes.
pub fn expected_bytes(
    headers: &HeaderMap,
    encoding: Encoding,
    chunked: bool,
    limit: usize,
) -> Result<usize, Verdict> {
    let stated = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    match stated {
        Some(length) if length > limit => Err(Verdict::TooLarge { limit: Some(limit) }),
        None if !chunked => Ok(0),
        _ => {
            let came = stated.unwrap_or(limit);
            Ok(if encoding == Encoding::Gzip { came + limit } else { came })
        }
    }
}

pub async fn read(body: &mut Body, limit: usize, until: Instant) -> Result<Bytes, Verdict> {
    match timeout_at(until, whole(Limited::new(body, limit))).await {
        Err(_) => Err(Verdict::BodyTooSlow),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Verdict::TooLarge { limit: Some(limit) }),
        Ok(Err(_)) => Err(Verdict::BadRequest(BadRequest::BodyCut)),
    }
}

/// One piece is passed on as it came. Several are put together one by one, into room for all where the length is
/// stated: kept until the last has come, they would hold the socket's buffers, and the body would be there twice.
async fn whole<B>(mut body: B) -> Result<Bytes, B::Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let stated = body.size_hint().exact().unwrap_or_default() as usize;
    let mut bytes = Bytes::new();
    let mut put_together = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.is_empty() && put_together.is_empty() {
            bytes = data;
            continue;
        }
        if put_together.is_empty() {
            put_together.reserve_exact(stated);
            put_together.extend_from_slice(&std::mem::take(&mut bytes));
        }
        put_together.extend_from_slice(&data);
    }
    Ok(if put_together.is_empty() { bytes } else { put_together.into() })
}

/// Reads on what a refused request still sends, for nothing: a client that is cut while it writes never sees
/// the answer. The answer does not wait for it; what is longer or slower is cut after all.
pub fn discard(mut body: Body, limit: usize, until: Instant) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut left = limit;
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                left = match frame.data_ref().map_or(Some(left), |data| left.checked_sub(data.len())) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        let _ = timeout_at(until, reading).await;
    });
}

/// A bomb is stopped at the limit, whatever it would become.
pub async fn gunzip(compressed: Bytes, limit: usize) -> Result<Bytes, Verdict> {
    let inflate = move || {
        // Room for all that it may become, of which only what is written costs: one that grows holds twice as much.
        let mut bytes = Vec::with_capacity(limit.saturating_add(1));
        let within = limit as u64 + 1;
        match MultiGzDecoder::new(&compressed[..]).take(within).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() > limit => Err(Verdict::TooLarge { limit: Some(limit) }),
            Ok(_) => Ok(Bytes::from(bytes)),
            Err(_) => Err(Verdict::BadRequest(BadRequest::NotGzip)),
        }
    };
    tokio::task::spawn_blocking(inflate).await.unwrap_or(Err(Verdict::Internal))
}

/// How long a body may take to arrive.
pub fn body_deadline(arrived: Instant, body_timeout: Duration, deadline: Instant) -> Instant {
    (arrived + body_timeout).min(deadline)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[tokio::test]
    async fn gzip_is_read_within_the_limit() {
        assert_eq!(gunzip(gzip(b"{}"), 2).await.unwrap(), "{}");
        let bomb = gzip(&vec![b' '; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(gunzip(bomb, 1 << 20).await, Err(Verdict::TooLarge { limit: Some(1 << 20) }));
        let not = Verdict::BadRequest(BadRequest::NotGzip);
        assert_eq!(gunzip(Bytes::from_static(b"{}"), 100).await, Err(not.clone()));
        let cut = gzip(b"{\"resourceType\":\"Patient\"}");
        assert_eq!(gunzip(cut.slice(..cut.len() - 4), 100).await, Err(not));
    }

    #[tokio::test]
    async fn pieces_become_one_body() {
        let body = |pieces: &'static [&'static str]| {
            let pieces =
                pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())));
            Body::from_stream(futures_util::stream::iter(pieces))
        };
        let read = async |mut body: Body, limit| {
            read(&mut body, limit, Instant::now() + Duration::from_secs(9)).await
        };
        let pieces: &[&[&str]] = &[&[], &[""], &["a"], &["", "a", ""], &["ab", "c"], &["a", "", "b", "c"]];
        for pieces in pieces {
            assert_eq!(read(body(pieces), 3).await.unwrap(), pieces.concat());
            let less = pieces.concat().len().checked_sub(1);
            if let Some(limit) = less {
                assert_eq!(read(body(pieces), limit).await, Err(Verdict::TooLarge { limit: Some(limit) }));
            }
        }
        // What came in one piece is not copied.
        let one = Bytes::from(vec![b'x'; 100]);
        assert_eq!(read(Body::from(one.clone()), 100).await.unwrap().as_ptr(), one.as_ptr());
    }

    #[test]
    fn what_gzip_becomes_is_counted_too() {
        let expected = |length: Option<&str>, encoding, chunked| {
            let mut headers = HeaderMap::new();
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            }
            expected_bytes(&headers, encoding, chunked, 100)
        };
        use Encoding::{Gzip, Identity};
        assert_eq!(expected(Some("7"), Identity, false), Ok(7));
        assert_eq!(expected(Some("7"), Gzip, false), Ok(107));
        assert_eq!((expected(None, Identity, true), expected(None, Gzip, true)), (Ok(100), Ok(200)));
        assert_eq!(expected(None, Identity, false), Ok(0));
        for encoding in [Identity, Gzip] {
            assert_eq!(expected(Some("101"), encoding, false), Err(Verdict::TooLarge { limit: Some(100) }));
        }
    }

    #[test]
    fn other_encodings_are_415() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().unwrap());
            encoding(&headers)
        };
        assert_eq!(of("GZIP"), Ok(Encoding::Gzip));
        assert_eq!(of("identity"), Ok(Encoding::Identity));
        for other in ["br", "deflate", "gzip, gzip", "zstd"] {
            assert!(matches!(of(other), Err(Verdict::UnsupportedMediaType(_))), "{other}");
        }
    }
}
