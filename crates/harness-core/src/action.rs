//! Actions: requests that a daemon offers in addition to the verbs, with typed input, events and output.
//!
//! An action is registered once. Its JSON Schemas are made from its types, and clients can list them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use harness_wire::message::ActionInfo;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_orchestration::Orchestrator;
use service_registry::Registry;

/// What an action can use.
#[derive(Clone)]
pub struct ActionContext {
    /// Starts and stops services.
    pub orchestrator: Orchestrator,
    /// Knows the services and projects.
    pub registry: Registry,
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// No action has this name.
    #[error("there is no action `{0}`")]
    Unknown(String),
    /// The input does not fit the action's schema.
    #[error("the input of action `{action}` is not valid: {source}")]
    Input {
        /// The action.
        action: &'static str,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// The output could not be written as JSON.
    #[error("the output of action `{action}` cannot be sent: {source}")]
    Output {
        /// The action.
        action: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The action failed. The message is shown to the caller.
    #[error("{action}: {message}")]
    Failed {
        /// The action.
        action: &'static str,
        /// What happened.
        message: String,
    },
}

/// Where an action sends its events.
pub struct EventSink<E> {
    sender: async_channel::Sender<Value>,
    event: PhantomData<fn(E)>,
}

impl<E: Serialize> EventSink<E> {
    /// Sends an event. Waits while the caller is slow. If the caller is gone, the event is dropped.
    pub async fn send(&self, event: &E) {
        if let Ok(value) = serde_json::to_value(event) {
            let _ = self.sender.send(value).await;
        }
    }
}

/// An action of a daemon.
///
/// ```
/// use harness_core::{Action, ActionContext, ActionError, EventSink};
///
/// struct Add;
///
/// #[async_trait::async_trait]
/// impl Action for Add {
///     const NAME: &'static str = "add";
///     const DESCRIPTION: &'static str = "Adds two numbers";
///     type Input = (i64, i64);
///     type Event = ();
///     type Output = i64;
///
///     async fn call(
///         &self,
///         _: &ActionContext,
///         (a, b): (i64, i64),
///         _: EventSink<()>,
///     ) -> Result<i64, ActionError> {
///         Ok(a + b)
///     }
/// }
/// ```
#[async_trait]
pub trait Action: Send + Sync + 'static {
    /// Its name, unique in a daemon: `service.signal`.
    const NAME: &'static str;
    /// What it does, in a sentence.
    const DESCRIPTION: &'static str;
    /// The input that it needs.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// The events that it sends while it runs.
    type Event: Serialize + JsonSchema + Send;
    /// The output that it answers with.
    type Output: Serialize + JsonSchema + Send;

    /// Runs the action.
    ///
    /// # Errors
    /// When the action fails. The text is shown to the caller.
    async fn call(
        &self,
        context: &ActionContext,
        input: Self::Input,
        events: EventSink<Self::Event>,
    ) -> Result<Self::Output, ActionError>;
}

/// An action without its types, so that all actions can be kept in one map.
#[async_trait]
trait Erased: Send + Sync {
    fn info(&self) -> ActionInfo;
    async fn call(
        &self,
        context: &ActionContext,
        input: Value,
        events: async_channel::Sender<Value>,
    ) -> Result<Value, ActionError>;
}

#[async_trait]
impl<A: Action> Erased for A {
    fn info(&self) -> ActionInfo {
        ActionInfo {
            name: A::NAME.to_owned(),
            description: A::DESCRIPTION.to_owned(),
            input: schema_for!(A::Input).to_value(),
            output: schema_for!(A::Output).to_value(),
            events: schema_for!(A::Event).to_value(),
        }
    }

    async fn call(
        &self,
        context: &ActionContext,
        input: Value,
        sender: async_channel::Sender<Value>,
    ) -> Result<Value, ActionError> {
        let action = A::NAME;
        let input = serde_json::from_value(input).map_err(|source| ActionError::Input { action, source })?;
        let events = EventSink {
            sender,
            event: PhantomData,
        };
        let output = Action::call(self, context, input, events).await?;
        serde_json::to_value(output).map_err(|source| ActionError::Output { action, source })
    }
}

/// The actions of a daemon, by name.
#[derive(Clone, Default)]
pub struct Actions(BTreeMap<&'static str, Arc<dyn Erased>>);

impl Actions {
    /// Adds an action. Replaces one with the same name.
    pub fn register<A: Action>(&mut self, action: A) {
        self.0.insert(A::NAME, Arc::new(action));
    }

    /// Lists the actions.
    pub fn list(&self) -> Vec<ActionInfo> {
        self.0.values().map(|action| action.info()).collect()
    }

    /// Calls an action by name. Its events go to `events`.
    ///
    /// # Errors
    /// When there is no action with this name, the input does not fit, or the action fails.
    pub async fn call(
        &self,
        context: &ActionContext,
        name: &str,
        input: Value,
        events: async_channel::Sender<Value>,
    ) -> Result<Value, ActionError> {
        let action = self
            .0
            .get(name)
            .ok_or_else(|| ActionError::Unknown(name.to_owned()))?;
        action.call(context, input, events).await
    }
}
