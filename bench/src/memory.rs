//! What Slipway itself takes while it has nothing to do.

use std::{fs, time::Duration};

use crate::{
    Arguments,
    fault::{Doing, Fault},
    process::{cpu_micros, memory},
    row::Row,
    stand::Stand,
};

/// How long the agent is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// Memory of agent, edge and shims, and the agent's CPU, with one deployed application.
pub(crate) fn measure(_: &Arguments) -> Result<Vec<Row>, Fault> {
    let stand = Stand::harbour()?;
    stand.slipway(&["deploy", "--yes"])?;
    let agent = stand.agent()?;
    let before = cpu_micros(agent)?;
    std::thread::sleep(WATCHED);
    let used = cpu_micros(agent)? - before;
    let share = used / WATCHED.as_secs_f64() / 1e6 * 100.0;
    let instances = stand.home().join("apps/harbour/dev/instances");
    let mut shims = Vec::new();
    for instance in fs::read_dir(&instances).doing(instances.display())? {
        let name = instance.doing(instances.display())?.file_name();
        let file = format!("apps/harbour/dev/instances/{}/shim.json", name.to_string_lossy());
        if stand.home().join(&file).exists() {
            shims.push(memory(stand.shim(&file)?.shim)?.private);
        }
    }
    let shim = shims.into_iter().fold(0.0, f64::max);
    Ok(vec![
        Row::limit("agent: resident at rest", memory(agent)?.resident, "MiB", 30.0),
        Row::limit("agent: CPU at rest", share, "% of a core", 0.5),
        Row::limit("edge: resident at rest, deployed", memory(stand.edge()?)?.resident, "MiB", 30.0),
        Row::limit("shim: private", shim, "MiB", 1.0),
    ])
}
