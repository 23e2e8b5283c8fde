//! The edge over real sockets.

mod control_calls;
mod routing;
mod support;
