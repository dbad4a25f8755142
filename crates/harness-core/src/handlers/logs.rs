use super::{Answer, Context, internal};
use harness_wire::message::LogsRequest;
use harness_wire::server::Responder;
pub(super) async fn logs(_: &Context, _: LogsRequest, _: &Responder) -> Answer {
    Err(internal("later"))
}
