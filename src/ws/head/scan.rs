//! The end of a head, found in one walk over bytes that may come one at a time.
//!
//! Invariant: every byte is looked at once, whatever the number of reads, so the cost of a head is
//! linear in its length and a peer that dribbles buys nothing.

use crate::config;
use crate::ws::refusal::Refusal;

use super::{Head, is_token};

/// The longest header line, its end not counted.
pub const LINE_BYTES: usize = 8_192;

/// The longest method; the longest registered one has 17.
const METHOD_BYTES: usize = 32;

/// As long as `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

/// How far a head has come; kept from read to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// How many bytes were looked at.
    scanned: usize,
    /// Where the current part (method, target, version) or header line began.
    start: usize,
    /// Header lines begun.
    lines: u16,
    expect: Expect,
}

/// What the next byte may belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Method,
    Target,
    Version,
    /// The LF that ends a line.
    LineFeed,
    /// A header line, or the empty line.
    Line,
    Name,
    Value,
    /// The LF that ends the head.
    LastLineFeed,
    /// The head is whole.
    Nothing,
}

impl Scan {
    /// Continues with `bytes`: those of the last call, and what came since.
    ///
    /// # Errors
    /// Refuses at the first byte that cannot belong to a valid head, or that passes a limit.
    pub fn parse<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: &config::Handshake,
    ) -> Result<Option<(Head<'a>, usize)>, Refusal> {
        let Some(length) = self.find_end(bytes, limits)? else { return Ok(None) };
        // Shorter than last time would be the caller's mistake: then wait for the rest.
        let Some(head) = bytes.get(..length) else { return Ok(None) };
        Ok(Some((Head::split(head, self.lines)?, length)))
    }

    /// The length of the head, once its end is there.
    fn find_end(
        &mut self,
        bytes: &[u8],
        limits: &config::Handshake,
    ) -> Result<Option<usize>, Refusal> {
        while self.expect != Expect::Nothing {
            let Some(&byte) = bytes.get(self.scanned) else { return Ok(None) };
            if self.scanned >= limits.head_bytes as usize {
                return Err(Refusal::HeadTooLarge);
            }
            self.expect = match self.expect {
                Expect::Method | Expect::Target | Expect::Version => {
                    self.request_line(byte, bytes, limits)?
                }
                _ => self.header_line(byte, limits)?,
            };
            self.scanned += 1;
        }
        Ok(Some(self.scanned))
    }

    fn request_line(
        &mut self,
        byte: u8,
        bytes: &[u8],
        limits: &config::Handshake,
    ) -> Result<Expect, Refusal> {
        let length = self.scanned - self.start;
        match (self.expect, byte) {
            (Expect::Method, b' ') if length > 0 => Ok(self.begin(Expect::Target)),
            (Expect::Method, _) if is_token(byte) && length < METHOD_BYTES => Ok(Expect::Method),
            (Expect::Target, b' ') if length > 0 => Ok(self.begin(Expect::Version)),
            (Expect::Target, _) if byte.is_ascii_graphic() && byte != b'#' => {
                let room = length < limits.target_bytes as usize;
                if room { Ok(Expect::Target) } else { Err(Refusal::TargetTooLong) }
            }
            (Expect::Version, b'\r') if length == VERSION_BYTES => {
                match &bytes[self.start..self.scanned] {
                    b"HTTP/1.1" | b"HTTP/1.0" => Ok(Expect::LineFeed),
                    _ => Err(Refusal::HttpVersion),
                }
            }
            (Expect::Version, _) if may_be_version(length, byte) => Ok(Expect::Version),
            _ => Err(Refusal::RequestLine),
        }
    }

    fn header_line(&mut self, byte: u8, limits: &config::Handshake) -> Result<Expect, Refusal> {
        let fits = self.scanned - self.start < LINE_BYTES;
        match (self.expect, byte) {
            (Expect::LineFeed, b'\n') => Ok(self.begin(Expect::Line)),
            (Expect::Line, b'\r') => Ok(Expect::LastLineFeed),
            (Expect::LastLineFeed, b'\n') => Ok(Expect::Nothing),
            (Expect::Line, _) if is_token(byte) => {
                if self.lines == limits.headers {
                    return Err(Refusal::TooManyHeaders);
                }
                self.lines += 1;
                Ok(Expect::Name)
            }
            (Expect::Value, b'\r') => Ok(Expect::LineFeed),
            (Expect::Name | Expect::Value, _) if !fits => Err(Refusal::HeadTooLarge),
            (Expect::Name, _) if is_token(byte) => Ok(Expect::Name),
            (Expect::Name, b':') | (Expect::Value, b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(Expect::Value)
            }
            _ => Err(Refusal::HeaderLine),
        }
    }

    /// A part begins behind the current byte.
    fn begin(&mut self, part: Expect) -> Expect {
        self.start = self.scanned + 1;
        part
    }
}

/// Whether a byte may stand at that place of `HTTP/1.1` or another version.
fn may_be_version(position: usize, byte: u8) -> bool {
    match position {
        5 | 7 => byte.is_ascii_digit(),
        _ => b"HTTP/1.1".get(position) == Some(&byte),
    }
}
