//! Services behind an HTTP gateway: the same web server in a function, behind an adapter (S0.4).

use stack::Kind;

use super::{
    cloud::{Cloud, Shape},
    function,
};
use crate::hcl::Block;

pub(crate) fn services(cloud: &Cloud<'_>) -> Vec<Block> {
    if cloud.shape != Shape::Lambda {
        return Vec::new();
    }
    let services = function::lambdas(cloud).into_iter().filter(|program| program.kind == Kind::Service);
    services
        .flat_map(|program| {
            let memory = program.size().and_then(|size| size.memory).map_or(512, |memory| memory.max.0 >> 20);
            // an HTTP API waits 30 s at most
            function::lambda(cloud, &program, 29, memory)
        })
        .collect()
}
