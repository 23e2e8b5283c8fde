//! What is rendered for Kubernetes, read by the tools and the server that read it in earnest.

mod chart;
mod documents;
mod files;
mod links;
mod restricted;
mod server;
mod shape;

use documents::{documents, every, name, pod, read, render};
