//! Deploying, rolling back, and deploying what is already there.

use std::time::Duration;

use crate::{
    Arguments,
    fault::Fault,
    row::{Row, median},
    stand::Stand,
};

/// Times from a command's start to traffic on the release it asks for.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let stand = Stand::harbour()?;
    stand.slipway(&["deploy", "--yes"])?;
    let (mut nothing, mut forwards, mut back, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        nothing.push(millis(stand.slipway(&["deploy", "--yes"])?));
        own.push(millis(stand.own_start()?));
        let marker = format!("round-{round}");
        stand.mark(&marker)?;
        forwards.push(millis(stand.until_served(&["deploy", "--yes"], &marker)?));
        let before = if round == 0 { "one".to_owned() } else { format!("round-{}", round - 1) };
        back.push(millis(stand.until_served(&["rollback", "--yes"], &before)?));
        // forwards again, so that the next round begins where this one ended
        stand.slipway(&["deploy", "--yes"])?;
        if !stand.serves(&marker) {
            return Err(Fault::new(format!("the release `{marker}` was deployed again and is not served")));
        }
    }
    let own = median(own);
    Ok(vec![
        Row::limit("deploy that changes nothing", median(nothing), "ms", 200.0),
        Row::limit("deploy to traffic, over the application's own start", median(forwards) - own, "ms", 1000.0),
        Row::limit("rollback to traffic", median(back), "ms", 1000.0),
    ])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
