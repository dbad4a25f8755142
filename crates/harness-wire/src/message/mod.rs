//! Message types. Text frames are one JSON envelope each:
//! `{"v":1,"id":7,"request":{"status":{…}}}`, `{"v":1,"id":7,"response":{"status":{…}}}`,
//! `{"v":1,"id":7,"event":{"progress":{…}}}`, `{"v":1,"id":7,"error":{…}}`.
//!
//! A request gets any number of events and stream frames, then exactly one response or error, last.

mod data;
mod error;
mod event;
mod request;
mod response;
mod select;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use data::{Channel, DataFrame, LogLine, MalformedFrame};
pub use error::{ErrorBody, ErrorCode, PortConflict};
pub use event::{ChangeEvent, ChangeKind, Event, Progress, ProgressPhase, WaitingFor};
pub use request::{
    ActionCall, AttachRequest, DaemonStopRequest, EnvRequest, EventsRequest, ExecRequest, GraphRequest,
    LogsRequest, Request, ServiceShowRequest, StartRequest, StatusRequest, StopRequest, Successor,
    TerminalSize, WaitFor, WaitRequest, WhyRequest,
};
pub use response::{
    ActionInfo, Change, DaemonStatus, DaemonStopReport, EnvReport, ExecResult, Failure, Graph, GraphEdge,
    GraphNode, PathStep, PlanStep, ProjectState, ProjectSummary, Response, ServiceOutcome, StartReport,
    StatusReport, StopReport, StoppedServices, WhyReport,
};
pub use select::{
    ProjectForgetRequest, ProjectForgotten, ProjectSelector, Purpose, Remark, SelectRequest, Selected,
};
pub use view::{PortView, ServiceDetail, ServiceView};

/// The protocol version this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The first message each way. The client sends the versions it speaks; the server answers with the one
/// chosen, or with an error and closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// Protocol versions the sender speaks; a server's answer has exactly one.
    pub versions: Vec<u32>,
    /// Program and version, `harness 0.1.0`.
    pub program: String,
}

/// A text frame from client to server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientMessage {
    /// Protocol version.
    pub v: u32,
    /// Chosen by the client, unique among its requests in flight; 0 for the hello.
    pub id: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: ClientBody,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientBody {
    /// First message.
    Hello(Hello),
    /// Do something; the id is new.
    Request(Box<Request>),
    /// Stop answering request `id`. It is still answered once, as cancelled. What it set in motion goes on.
    Cancel {},
    /// The client takes this many more bytes on the stream of request `id`: payload of binary frames and JSON of
    /// events. A request begins with 1 MiB; the last frame may overdraw it. The response needs none.
    Credit(u64),
    /// The terminal of the exec or attach `id` has a new size.
    Resize(TerminalSize),
    /// No more stdin for the exec or attach `id`.
    CloseStdin {},
    /// Send this signal number to the process of exec `id`.
    Signal(i32),
}

/// A text frame from server to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerMessage {
    /// Protocol version.
    pub v: u32,
    /// The request it belongs to; 0 for the hello and for errors of the connection itself.
    pub id: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: ServerBody,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerBody {
    /// First message.
    Hello(Hello),
    /// The answer; the last message of its request.
    Response(Box<Response>),
    /// The refusal; the last message of its request.
    Error(ErrorBody),
    /// Something happened on the way.
    Event(Box<Event>),
    /// The server takes this many more bytes of stdin on the stream of request `id`. It begins with 256 KiB, never
    /// to be exceeded.
    Credit(u64),
}
