//! Binary frames: the bytes of logs, exec and attach.
//!
//! A frame is the request id (u64, big endian), the channel (u8), then the payload. On [`Channel::Log`] the
//! payload is a sequence of [`LogLine`]s, so that many short lines share a frame.

use harness_model::{ServiceName, WallTime};

/// The kind of bytes in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Input to the process.
    Stdin = 0,
    /// Output of the process, or of its terminal.
    Stdout = 1,
    /// Error output of the process.
    Stderr = 2,
    /// Log lines.
    Log = 3,
}

/// A binary frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFrame {
    /// The request it belongs to.
    pub id: u64,
    /// The kind of its bytes.
    pub channel: Channel,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Why a binary frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedFrame {
    /// It is shorter than its own header says.
    #[error("the binary frame is truncated")]
    Truncated,
    /// Its channel byte is unknown.
    #[error("the binary frame has the unknown channel {0}")]
    Channel(u8),
    /// A name in it is not a name, or not UTF-8.
    #[error("the log frame names no valid service")]
    Service,
    /// The flags of a log line are unknown.
    #[error("the log frame has the unknown stream {0}")]
    Stream(u8),
}

const HEADER: usize = 9;

impl DataFrame {
    /// The frame as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.payload.len());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(self.channel as u8);
        out.extend_from_slice(&self.payload);
        out
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// When the bytes are too short or have an unknown channel.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedFrame> {
        let (id, rest) = bytes.split_first_chunk::<8>().ok_or(MalformedFrame::Truncated)?;
        let (channel, payload) = rest.split_first().ok_or(MalformedFrame::Truncated)?;
        let channel = match channel {
            0 => Channel::Stdin,
            1 => Channel::Stdout,
            2 => Channel::Stderr,
            3 => Channel::Log,
            other => return Err(MalformedFrame::Channel(*other)),
        };
        Ok(Self {
            id: u64::from_be_bytes(*id),
            channel,
            payload: payload.to_vec(),
        })
    }
}

/// One line of a service's output, with secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the service.
    pub time: WallTime,
    /// The generation that wrote it.
    pub generation: u64,
    /// Whether it came from stderr.
    pub stderr: bool,
    /// Whether the line continues: it had not ended yet, or was too long for one record.
    pub partial: bool,
    /// The service that wrote it.
    pub service: ServiceName,
    /// The bytes without the line end.
    pub text: Vec<u8>,
}

const STDERR: u8 = 1;
const PARTIAL: u8 = 2;

impl LogLine {
    /// Appends the line to a payload: time, generation (u64 each), flags (u8), name length (u8), text length
    /// (u32), name, text; numbers big endian.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let name = self.service.as_str().as_bytes();
        // A name has at most 63 bytes, and a log record cannot contain a line longer than 4 GiB.
        let name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let text_len = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.push(if self.stderr { STDERR } else { 0 } | if self.partial { PARTIAL } else { 0 });
        out.push(name_len);
        out.extend_from_slice(&text_len.to_be_bytes());
        out.extend_from_slice(&name[..usize::from(name_len)]);
        out.extend_from_slice(&self.text[..text_len as usize]);
    }

    /// Decodes the lines of a payload.
    ///
    /// # Errors
    /// When it is truncated, or contains an invalid name or flag.
    pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Self>, MalformedFrame> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let time = WallTime(u64::from_be_bytes(take(&mut bytes)?));
            let generation = u64::from_be_bytes(take(&mut bytes)?);
            let [flags, name_len] = take(&mut bytes)?;
            if flags & !(STDERR | PARTIAL) != 0 {
                return Err(MalformedFrame::Stream(flags));
            }
            let text_len = u32::from_be_bytes(take(&mut bytes)?) as usize;
            let name = split(&mut bytes, usize::from(name_len))?;
            let name = std::str::from_utf8(name).map_err(|_| MalformedFrame::Service)?;
            let service = ServiceName::new(name).map_err(|_| MalformedFrame::Service)?;
            let text = split(&mut bytes, text_len)?.to_vec();
            let (stderr, partial) = (flags & STDERR != 0, flags & PARTIAL != 0);
            lines.push(Self {
                time,
                generation,
                stderr,
                partial,
                service,
                text,
            });
        }
        Ok(lines)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], MalformedFrame> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(MalformedFrame::Truncated)?;
    *bytes = rest;
    Ok(*head)
}

fn split<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], MalformedFrame> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(MalformedFrame::Truncated)?;
    *bytes = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_lines_survive_the_round_trip() {
        let line = LogLine {
            time: WallTime(7),
            generation: 2,
            stderr: true,
            partial: false,
            service: ServiceName::new("db").unwrap(),
            text: b"ready \xff".to_vec(),
        };
        let mut payload = Vec::new();
        line.encode_into(&mut payload);
        line.encode_into(&mut payload);
        let frame = DataFrame {
            id: 9,
            channel: Channel::Log,
            payload,
        };
        let back = DataFrame::decode(&frame.encode()).unwrap();
        assert_eq!(back, frame);
        assert_eq!(
            LogLine::decode_all(&back.payload).unwrap(),
            vec![line.clone(), line]
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut payload = Vec::new();
        LogLine {
            time: WallTime(7),
            generation: 2,
            stderr: false,
            partial: true,
            service: ServiceName::new("db").unwrap(),
            text: b"abc".to_vec(),
        }
        .encode_into(&mut payload);
        for len in 1..payload.len() {
            assert_eq!(
                LogLine::decode_all(&payload[..len]),
                Err(MalformedFrame::Truncated),
                "{len}"
            );
        }
        assert_eq!(DataFrame::decode(&[0; 8]), Err(MalformedFrame::Truncated));
    }
}
