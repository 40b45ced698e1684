//! Lines of a stream that comes in pieces, gzip or not. In memory is one line.

use std::io::Write;

use flate2::write::MultiGzDecoder;

use super::ExportError;

/// Longer lines are no resource that HealthLake takes (bytes).
const LONGEST: usize = 200 << 20;
/// So much of a gzip is unpacked at once: it may be a thousand times as large (bytes).
const PIECE: usize = 16 << 10;

type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ExportError> + Send + 'a;

pub struct Lines {
    /// Of the file, for errors
    name: String,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// What came of a line that is not whole yet
    begun: Vec<u8>,
    number: u64,
}

impl Lines {
    pub fn of(name: &str) -> Self {
        let path = name.split(['?', '#']).next().unwrap_or(name);
        let gzip = path.ends_with(".gz").then(|| MultiGzDecoder::new(Vec::new()));
        Self { name: name.to_owned(), gzip, begun: Vec::new(), number: 0 }
    }

    /// `each` is told of each line that is not blank, with its number.
    pub fn push(&mut self, chunk: &[u8], each: &mut Each<'_>) -> Result<(), ExportError> {
        if self.gzip.is_none() {
            return self.plain(chunk, each);
        }
        for piece in chunk.chunks(PIECE) {
            let Some(gzip) = &mut self.gzip else { break };
            let told = gzip.write_all(piece).and_then(|()| gzip.flush());
            let unpacked = std::mem::take(gzip.get_mut());
            told.map_err(|error| ExportError::Gzip(self.name.clone(), error))?;
            self.plain(&unpacked, each)?;
        }
        Ok(())
    }

    /// The last line may have no end.
    pub fn end(mut self, each: &mut Each<'_>) -> Result<(), ExportError> {
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish().map_err(|error| ExportError::Gzip(self.name.clone(), error))?;
            self.plain(&rest, each)?;
        }
        let last = std::mem::take(&mut self.begun);
        self.line(&last, each)
    }

    fn plain(&mut self, mut bytes: &[u8], each: &mut Each<'_>) -> Result<(), ExportError> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.begun.is_empty() {
                self.line(line, each)?;
            } else {
                self.begun.extend_from_slice(line);
                let whole = std::mem::take(&mut self.begun);
                self.line(&whole, each)?;
                // Its memory is used again.
                self.begun = whole;
                self.begun.clear();
            }
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() > LONGEST {
            return Err(ExportError::Line(self.name.clone(), self.number + 1));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], each: &mut Each<'_>) -> Result<(), ExportError> {
        self.number += 1;
        let line = line.trim_ascii();
        if line.is_empty() { Ok(()) } else { each(self.number, line) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, bytes: &[u8], size: usize) -> Result<Vec<(u64, String)>, ExportError> {
        let mut found = Vec::new();
        let mut each = |number: u64, line: &[u8]| {
            found.push((number, String::from_utf8(line.to_vec()).unwrap()));
            Ok(())
        };
        let mut lines = Lines::of(name);
        for chunk in bytes.chunks(size) {
            lines.push(chunk, &mut each)?;
        }
        lines.end(&mut each)?;
        Ok(found)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn lines_are_the_same_however_the_stream_is_cut(
            texts in prop::collection::vec("[a-z\r]{0,20}", 0..40),
            size in 1_usize..100,
            ended in any::<bool>(),
        ) {
            let text = texts.join("\n") + if ended { "\n" } else { "" };
            let expected: Vec<(u64, String)> = text
                .lines()
                .zip(1..)
                .map(|(line, number)| (number, line.trim_ascii().to_owned()))
                .filter(|(_, line)| !line.is_empty())
                .collect();
            prop_assert_eq!(&read("a.ndjson", text.as_bytes(), size).unwrap(), &expected);
            // Of two members, as files that were put behind each other are.
            let (one, other) = text.split_at(text.len() / 2);
            let members = [gzip(one), gzip(other)].concat();
            prop_assert_eq!(&read("https://x/a.ndjson.gz?b=c", &members, size).unwrap(), &expected);
        }
    }

    #[test]
    fn a_gzip_that_was_cut_is_told() {
        let whole = gzip(&"a line\n".repeat(1000));
        let error = read("a.ndjson.gz", &whole[..whole.len() / 2], 10).unwrap_err();
        assert!(matches!(error, ExportError::Gzip(..)), "{error}");
    }
}
