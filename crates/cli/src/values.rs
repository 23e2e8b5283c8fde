//! The values of an environment's variables, and where they are kept.

use std::path::PathBuf;

use stack::ValuesId;

use crate::{
    context::Reach,
    draw,
    exit::{Exit, Failure},
    printer::Printer,
};

/// The values of the contract's variables; every problem at once with exit code 3 (S4.P6).
pub(crate) fn values(
    reach: &Reach,
    set: &[String],
    files: &[PathBuf],
    printer: Printer,
) -> Result<secrets::Values, Failure> {
    let contract = |problems| Failure::Problems(problems, Exit::Contract);
    let set = secrets::sources::parse_set(set.iter().map(String::as_str))
        .map_err(|problems| Failure::Problems(problems, Exit::Usage))?;
    let sources = secrets::Sources { files: files.to_vec(), set, ..secrets::Sources::around(&reach.project.folder) };
    let found = secrets::gather(&reach.resolved, &sources).map_err(contract)?;
    if !found.warnings.is_empty() {
        draw::problems(&found.warnings, printer);
    }
    if !found.made_up.is_empty() {
        let names = found.made_up.join(", ");
        printer.say(format_args!("    made up {names} for {} and kept it below .slipway", reach.resolved.name));
    }
    Ok(found.values)
}

/// Values that the host keeps.
pub(crate) struct Kept {
    /// Their name.
    pub(crate) id: ValuesId,
    /// The secret ones themselves: no build may show them.
    pub(crate) secrets: Vec<String>,
}

/// Gives the values to the host.
pub(crate) async fn keep(reach: &Reach, values: secrets::Values) -> Result<Kept, Failure> {
    let secrets = values.secret_values().map(ToOwned::to_owned).collect();
    Ok(Kept { id: reach.fleet.put_values(values.all, values.secrets).await?, secrets })
}
