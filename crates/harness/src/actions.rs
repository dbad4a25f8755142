//! The actions of `harness-executor-daemon`: requests that it accepts in addition to the verbs.

use async_trait::async_trait;
use harness_core::{Action, ActionContext, ActionError, EventSink};
use harness_model::state::{signal_name, signal_number};
use harness_model::{ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `service.signal`: sends a signal to the main process of a service, for example to make it reload its
/// files.
pub struct ServiceSignal;

/// The input of [`ServiceSignal`]: the service and the signal.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SignalInput {
    /// The project that the service belongs to.
    pub project: ProjectName,
    /// The service to signal.
    pub service: ServiceName,
    /// The signal: `SIGHUP`, `hup` or `1`.
    pub signal: String,
}

/// The output of [`ServiceSignal`]: what was sent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignalOutput {
    /// The process that got the signal.
    pub pid: Option<u32>,
    /// The name of the signal, or its number if it has no name.
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
            .ok_or_else(|| failed(format!("{} is not running", input.service)))?;
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
