//! Actions: what a daemon can do beyond the verbs, with typed input, events and output.
//!
//! An action is registered once; its JSON Schemas are made from its types and clients can list them.

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

/// What an action may use.
#[derive(Clone)]
pub struct ActionContext {
    /// Starts and stops services.
    pub orchestrator: Orchestrator,
    /// Knows them.
    pub registry: Registry,
}

/// Why an action did not do what was asked.
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
    /// It went wrong; the message is shown to whoever called.
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
    /// Sends an event; waits while the caller is slow. An event for a caller that went away is dropped.
    pub async fn send(&self, event: &E) {
        if let Ok(value) = serde_json::to_value(event) {
            let _ = self.sender.send(value).await;
        }
    }
}

/// One thing a daemon can do.
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
    /// What it needs.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What it tells on the way.
    type Event: Serialize + JsonSchema + Send;
    /// What it answers.
    type Output: Serialize + JsonSchema + Send;

    /// Does it.
    ///
    /// # Errors
    /// When it cannot; the text is shown to whoever called.
    async fn call(
        &self,
        context: &ActionContext,
        input: Self::Input,
        events: EventSink<Self::Event>,
    ) -> Result<Self::Output, ActionError>;
}

/// An action whose types are erased, as the registry keeps it.
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
    /// Adds an action; one of the same name is replaced.
    pub fn register<A: Action>(&mut self, action: A) {
        self.0.insert(A::NAME, Arc::new(action));
    }

    /// What there is.
    pub fn list(&self) -> Vec<ActionInfo> {
        self.0.values().map(|action| action.info()).collect()
    }

    /// Calls one by name. Its events go to `events`.
    ///
    /// # Errors
    /// When there is none of this name, the input does not fit, or the action fails.
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
