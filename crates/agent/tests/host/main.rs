//! The agent as a process with a real edge, real instances and visitors.

mod bed;
mod keeps_running;
