//! The agent as a process with a real edge, real instances and visitors.

mod bed;
mod fails_well;
mod keeps_running;
mod works;
