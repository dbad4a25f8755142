use super::{Answer, Context, internal};
use harness_wire::message::AttachRequest;
use harness_wire::server::Responder;
pub(super) async fn attach(_: &Context, _: AttachRequest, _: &Responder) -> Answer {
    Err(internal("later"))
}
