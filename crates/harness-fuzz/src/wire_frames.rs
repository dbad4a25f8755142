//! The messages between a client and a daemon, after the WebSocket has separated them.

use harness_wire::message::{ClientMessage, DataFrame, LogLine, ServerMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const WORDS: &[&str] = &[
    "{\"v\":1,\"id\":7,",
    "\"request\":",
    "\"response\":",
    "\"event\":",
    "\"error\":",
    "\"hello\":{\"versions\":[1],\"program\":\"x\"}",
    "\"credit\":",
    "\"signal\":",
    "\"cancel\":{}",
    "\"status\":",
    "\"logs\":",
    "\"exec\":",
    "\"action\":",
    "\"input\":",
    "\"start\":",
    "\"project\":{\"named\":\"p\"}",
    "\"services\":[]",
    "\"retry_in_s\":",
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "0.1",
    "1e-7",
    "123456789.123456789",
    ",",
    "\0\0\0\0\0\0\0\x07\x03",
];

/// A message that is understood must mean the same after it was sent on. Bytes are taken as they are.
pub(crate) fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        json::<ClientMessage>(text);
        json::<ServerMessage>(text);
    }
    if let Ok(frame) = DataFrame::decode(data) {
        assert_eq!(frame.encode(), data);
        lines(&frame.payload);
    }
    lines(data);
}

fn json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(message) = serde_json::from_str::<T>(text) else {
        return;
    };
    let sent = serde_json::to_string(&message).unwrap();
    let again: T = match serde_json::from_str(&sent) {
        Ok(again) => again,
        Err(error) => panic!("a message was understood, but not after it was sent on: {error}\n{sent}"),
    };
    assert_eq!(again, message);
    assert_eq!(serde_json::to_string(&again).unwrap(), sent);
}

fn lines(payload: &[u8]) {
    let Ok(lines) = LogLine::decode_all(payload) else {
        return;
    };
    let mut again = Vec::new();
    for line in &lines {
        line.encode_into(&mut again);
    }
    assert_eq!(again, payload);
}
