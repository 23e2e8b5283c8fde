//! Many hosts as one target.

mod gates;
mod groups;
mod toy;
mod waves;
