//! `slipway schema`: the JSON Schema of the stack file.

use crate::{
    exit::{Done, Exit},
    printer::Printer,
};

/// Prints it.
pub(crate) fn run(printer: Printer) -> Done {
    printer.document(&stack::schema())?;
    Ok(Exit::Done)
}
