//! Taking in an order to stop.

use super::driver::Driver;
use super::orders::{Operation, OrderError, StopOrder};
use crate::machine::OperationRequest;

impl Driver {
    pub(super) fn stop(&mut self, order: StopOrder) -> Result<Operation, OrderError> {
        let StopOrder { project, targets } = order;
        let state = self
            .projects
            .get(&project)
            .ok_or_else(|| OrderError::NoSuchProject(project.clone()))?;
        if let Some(unknown) = targets
            .iter()
            .flatten()
            .find(|name| !state.services.contains_key(*name))
        {
            return Err(OrderError::NoSuchService {
                project,
                service: unknown.clone(),
            });
        }
        let request = OperationRequest::Stop { targets };
        let (operation, events) = self.watch_operation(&project);
        let steps = self.submit(&project, operation, request, Default::default());
        Ok(Operation {
            id: Some(operation),
            project,
            steps,
            not_in_file: Vec::new(),
            events,
        })
    }
}
