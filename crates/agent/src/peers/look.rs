//! Looks at each other host of an environment twice a second.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    environment::Environment,
    host::Host,
    protocol::{Call, Reply},
};

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(500);
/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks for as long as the agent runs; an environment without other hosts costs nothing.
pub(super) async fn run(host: &Arc<Host>, environment: &Arc<Environment>) {
    let mut changes = environment.watch();
    let mut list = None;
    let mut looking = CancellationToken::new();
    loop {
        changes.mark_unchanged();
        let now = environment.membership().map(|known| (known.me.clone(), known.members.changed_at));
        if now != list {
            list = now;
            looking.cancel();
            looking = host.stopping.child_token();
            for client in environment.peers.clients() {
                tokio::spawn(look_at(environment.clone(), client, looking.clone()));
            }
        }
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = changes.changed() => if told.is_err() { return },
        }
    }
}

/// Looks at one host until it is told to stop.
async fn look_at(environment: Arc<Environment>, client: Client, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _now = ticks.tick() => {}
        }
        let asked = tokio::time::timeout(PATIENCE, client.call(Some(&environment.scope), Call::PeerState));
        let said = tokio::select! {
            () = stop.cancelled() => return,
            said = asked => match said {
                Ok(Ok(Reply::PeerState { state })) => Some(*state),
                _ => None,
            },
        };
        let newer = said
            .as_ref()
            .is_some_and(|state| state.changed_at > environment.membership().map(|known| known.members.changed_at));
        environment.hear(client.host(), said);
        if newer {
            tokio::select! {
                () = stop.cancelled() => return,
                () = take_over(&environment, &client) => {}
            }
        }
    }
}

/// Takes over the list of hosts of one that has a newer one.
async fn take_over(environment: &Arc<Environment>, client: &Client) {
    let Ok(Reply::Members { members: Some(members), .. }) = client.call(Some(&environment.scope), Call::Members).await
    else {
        return;
    };
    let Some(me) = environment.membership().map(|known| known.me.clone()) else { return };
    let changed_at = members.changed_at;
    let taking = environment.clone();
    let taken = tokio::task::spawn_blocking(move || taking.put_members(me, *members)).await;
    let trouble = match taken {
        Ok(Ok(())) => {
            tracing::info!(scope = %environment.scope, from = client.host(), %changed_at, "took over a newer list of hosts");
            None
        }
        Ok(Err(error)) => Some(format!("the newer list of hosts of {} cannot be taken over: {error}", client.host())),
        Err(error) => Some(error.to_string()),
    };
    environment.trouble("members", trouble);
}
