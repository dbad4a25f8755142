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
pub use view::{Labelled, PortView, ServiceDetail, ServiceView};

/// The protocol version this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The first message in each direction. The client sends the versions it speaks. The server answers with the chosen
/// one, or with an error and closes.
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
    /// The id of the request. The client chooses it, unique among its requests in flight; 0 for the hello.
    pub id: u64,
    /// The content of the message.
    #[serde(flatten)]
    pub body: ClientBody,
}

/// The content of a client's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientBody {
    /// The first message.
    Hello(Hello),
    /// A request. Its id must be new.
    Request(Box<Request>),
    /// Stop answering request `id`. It still gets one answer, as cancelled. What it started continues.
    Cancel {},
    /// The client takes this many more bytes on the stream of request `id`: payload of binary frames and JSON of
    /// events. A request begins with 1 MiB; the last frame may overdraw it. The response needs no credit.
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
    /// The content of the message.
    #[serde(flatten)]
    pub body: ServerBody,
}

/// The content of a server's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerBody {
    /// The first message.
    Hello(Hello),
    /// The answer. This is the last message of its request.
    Response(Box<Response>),
    /// The refusal. This is the last message of its request.
    Error(ErrorBody),
    /// An event of a request.
    Event(Box<Event>),
    /// The server takes this many more bytes of stdin on the stream of request `id`. The client begins with 256 KiB,
    /// and must never exceed its credit.
    Credit(u64),
}
