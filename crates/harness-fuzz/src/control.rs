//! The requests on a shim's control socket, and the line that the shim writes to its starter.

use harness_shim::control::{DecodeError, MAX_FRAME, Reply, Request};
use harness_shim::handshake::Handshake;

pub(crate) const WORDS: &[&str] = &[
    "\x02\0\0\0\x01\x07",
    "\x02\0\0\0\x01\x02",
    "\x02\0\0\0\x01\x05",
    "\x03\0\0\0\x01\x04a",
    "\x06\0\0\0\x01\x06\x50\0\x18\0",
    "\x07\0\0\0\x01\x03\x0f\0\0\0\x01",
    "\x0f\0\0\0\x01\x01\x0f\0\0\0\0\0\0\0\0\0\0\0\0",
    "started ",
    "failed exec ",
];

/// Requests are read one after the other. Each must mean what its bytes say, and only complete ones may be taken.
pub(crate) fn check(data: &[u8]) {
    let mut rest = data;
    loop {
        match Request::decode(rest) {
            Ok(None) => break,
            Ok(Some((request, used))) => {
                let (frame, more) = rest.split_at(used);
                assert_eq!(request.encode(), frame);
                for cut in [0, 3, used / 2, used - 1] {
                    assert_eq!(Request::decode(&frame[..cut]), Ok(None));
                }
                rest = more;
            }
            Err(DecodeError::Unknown(used)) => {
                assert!((4..=4 + MAX_FRAME).contains(&used));
                rest = &rest[used..];
            }
            Err(DecodeError::TooLarge) => {
                let length: [u8; 4] = rest[..4].try_into().unwrap();
                assert!(u32::from_le_bytes(length) as usize > MAX_FRAME);
                break;
            }
        }
    }
    if let Some(reply) = data.first().and_then(|byte| Reply::decode(*byte)) {
        assert_eq!(reply.encode(), data[0]);
    }
    if let Some(handshake) = Handshake::parse(data) {
        assert_eq!(
            Handshake::parse(handshake.to_string().as_bytes()),
            Some(handshake)
        );
    }
}
