//! `__complete-profiles`: the names of the file's profiles, a line each, for completion scripts.

use std::collections::BTreeSet;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

pub(crate) fn run(context: &Context) -> Result<Exit, CliError> {
    // A file that cannot be read has nothing to offer.
    let project = context.load_silently().map(|loaded| loaded.project);
    let names: BTreeSet<String> = project.map_or_else(
        |_| BTreeSet::new(),
        |project| {
            let chosen = project
                .services
                .into_values()
                .flat_map(|service| service.profiles);
            chosen.chain(project.unchosen.into_values().flatten()).collect()
        },
    );
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    context.ui.out_exact(&lines)?;
    Ok(Exit::Ok)
}
