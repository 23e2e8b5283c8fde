//! Many hosts as one target.

mod groups;
mod toy;
mod waves;
