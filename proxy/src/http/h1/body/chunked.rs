//! The chunked transfer coding (RFC 9112, section 7.1), read strictly: what two parsers could read in
//! two ways is an error.

use super::trailers::Trailers;
use super::{BodyError, Decoded};

/// Bytes of extensions in one body: they carry nothing that we pass on.
const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Bytes of extensions behind one size.
const MAX_EXTENSION: u32 = 256;
/// 15 hexadecimal digits stay below 2^60.
const MAX_DIGITS: u8 = 15;

#[derive(Debug, Default)]
pub(super) struct Chunked {
    step: Step,
    /// The size being read, then the bytes of the chunk that are left.
    left: u64,
    digits: u8,
    extension: u32,
    extensions: u32,
    trailers: Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Size,
    /// Behind a semicolon: a name must start here.
    ExtensionStart,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    pub(super) fn trailers(&self) -> &[u8] {
        self.trailers.lines()
    }

    /// See [`super::Decoder::decode`]; pieces of data are moved to follow the first one.
    pub(super) fn decode(&mut self, buf: &mut [u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        while at < buf.len() && self.step != Step::Done {
            if self.step == Step::Data {
                let take = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(buf.len() - at);
                if data.is_empty() {
                    data = at..at;
                }
                if data.end != at {
                    buf.copy_within(at..at + take, data.end);
                }
                data.end += take;
                at += take;
                self.left -= take as u64;
                if self.left == 0 {
                    self.step = Step::DataCr;
                }
            } else {
                let byte = buf[at];
                at += 1;
                self.step = self.take(byte)?;
            }
        }
        Ok(Decoded { consumed: at, data })
    }

    fn take(&mut self, byte: u8) -> Result<Step, BodyError> {
        match (self.step, byte) {
            (Step::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (Step::Size, b'\r') if self.digits > 0 => Ok(Step::SizeLf),
            (Step::Size, b';') if self.digits > 0 => self.count_extension(Step::ExtensionStart),
            (Step::Size, _) => Err(BodyError::ChunkSize),
            (Step::ExtensionStart, byte) if is_token(&byte) => {
                self.count_extension(Step::Extension)
            }
            (Step::ExtensionStart, _) => Err(BodyError::Extension),
            (Step::Extension, b'\r') => Ok(Step::SizeLf),
            (Step::Extension, b';') => self.count_extension(Step::ExtensionStart),
            (Step::Extension, b' '..=b'~') => self.count_extension(Step::Extension),
            (Step::Extension, _) => Err(BodyError::Extension),
            (Step::SizeLf, b'\n') => Ok(self.chunk_starts()),
            (Step::SizeLf, _) => Err(BodyError::ChunkSize),
            (Step::DataCr, b'\r') => Ok(Step::DataLf),
            (Step::DataLf, b'\n') => Ok(Step::Size),
            (Step::DataCr | Step::DataLf, _) => Err(BodyError::ChunkEnd),
            (Step::Trailers, byte) => match self.trailers.take(byte)? {
                true => Ok(Step::Done),
                false => Ok(Step::Trailers),
            },
            (step @ (Step::Data | Step::Done), _) => Ok(step),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<Step, BodyError> {
        if self.digits >= MAX_DIGITS {
            return Err(BodyError::ChunkSize);
        }
        let value = char::from(byte).to_digit(16).ok_or(BodyError::ChunkSize)?;
        self.digits += 1;
        self.left = self.left * 16 + u64::from(value);
        Ok(Step::Size)
    }

    fn count_extension(&mut self, next: Step) -> Result<Step, BodyError> {
        self.extension += 1;
        self.extensions += 1;
        if self.extension > MAX_EXTENSION || self.extensions > MAX_EXTENSION_BYTES {
            return Err(BodyError::Extension);
        }
        Ok(next)
    }

    fn chunk_starts(&mut self) -> Step {
        self.digits = 0;
        self.extension = 0;
        if self.left == 0 {
            Step::Trailers
        } else {
            Step::Data
        }
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
