//! The actions of `harness-executor-daemon`: what it can do beyond the verbs.

use async_trait::async_trait;
use harness_core::{Action, ActionContext, ActionError, EventSink};
use harness_model::state::{signal_name, signal_number};
use harness_model::{ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `service.signal`: sends a signal to the main process of a service, to make it reload its files, say.
pub struct ServiceSignal;

/// To which service, and which signal.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SignalInput {
    /// The project.
    pub project: ProjectName,
    /// The service.
    pub service: ServiceName,
    /// `SIGHUP`, `hup` or `1`.
    pub signal: String,
}

/// What was sent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignalOutput {
    /// To which process.
    pub pid: Option<u32>,
    /// Which signal.
    pub signal: String,
}

#[async_trait]
impl Action for ServiceSignal {
    const NAME: &'static str = "service.signal";
    const DESCRIPTION: &'static str = "Sends a signal to the main process of a service";
    type Input = SignalInput;
    type Event = ();
    type Output = SignalOutput;

    async fn call(
        &self,
        context: &ActionContext,
        input: SignalInput,
        _: EventSink<()>,
    ) -> Result<SignalOutput, ActionError> {
        let failed = |message: String| ActionError::Failed {
            action: Self::NAME,
            message,
        };
        let number = signal_number(&input.signal)
            .ok_or_else(|| failed(format!("there is no signal `{}`", input.signal)))?;
        let place = context
            .orchestrator
            .place(&input.project, &input.service)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let instance = place
            .instance
            .ok_or_else(|| failed(format!("{} does not run", input.service)))?;
        instance
            .signal(number)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let signal = signal_name(number).map_or_else(|| number.to_string(), str::to_owned);
        Ok(SignalOutput {
            pid: instance.pid(),
            signal,
        })
    }
}
