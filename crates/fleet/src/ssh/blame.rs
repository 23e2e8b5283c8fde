//! Whose fault it is that a connection did not come about: the host's, that of a host before it, or of the command that
//! leads there.

use super::{Destination, SshError, command, way::Way};

/// The reason, from what `ssh` said before it gave up. Where other hosts lead to it, the last of them is asked itself.
pub(super) async fn blame(destination: &Destination, words: &str) -> SshError {
    match Way::ask(destination).await {
        Some(way) => along(destination, &way, words).await,
        // Its configuration is wrong, and its words say how.
        None => SshError::from_words(destination, words),
    }
}

async fn along(destination: &Destination, way: &Way, words: &str) -> SshError {
    if let Some((last, before)) = way.last_jump()
        && let Ok(jump) = Destination::parse(last)
    {
        let own = Way::ask(&jump).await.unwrap_or_default();
        let knock = command::knock(&jump, before.as_deref(), own.strict).output().await;
        if let Ok(output) = knock
            && output.status.code() == Some(255)
        {
            let on = match before {
                Some(before) => Way { jumps: before.split(',').map(str::to_owned).collect(), command: None, ..own },
                None => own,
            };
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let source = Box::new(Box::pin(along(&jump, &on, &words)).await);
            return SshError::Jump { host: destination.host().to_owned(), jump: jump.host().to_owned(), source };
        }
    }
    judge(destination, way, words)
}

/// Who is to blame where the hosts before this one are well, by the words alone.
fn judge(destination: &Destination, way: &Way, words: &str) -> SshError {
    let host = destination.host().to_owned();
    let direct = way.jumps.is_empty() && way.command.is_none();
    let error = SshError::from_words(destination, words);
    if direct {
        return error;
    }
    let jump = way.jumps.last().and_then(|last| Destination::parse(last).ok());
    if let Some(said) = line(words, "administratively prohibited") {
        let jump = jump.map_or_else(|| "another host".to_owned(), |jump| jump.host().to_owned());
        return SshError::Jump { host, jump, source: Box::new(SshError::NoPassage { said }) };
    }
    let named = speaker(words).filter(|named| *named != host && *named != way.host);
    if let (Some(command), Some(named)) = (&way.command, named) {
        // A command that is an `ssh` of its own tells which host it is about.
        let source = Destination::parse(&named).map_or_else(
            |_| SshError::Command { host: host.clone(), command: command.clone(), said: named.clone() },
            |other| SshError::from_words(&other, words),
        );
        return SshError::Jump { host, jump: named, source: Box::new(source) };
    }
    match (error, &way.command) {
        // A bare line is about somebody else: the key of this host is always named.
        (SshError::UnknownKey { .. }, Some(command)) if speaker(words).is_none() => {
            SshError::Command { host, command: command.clone(), said: words.trim().to_owned() }
        }
        (SshError::UnknownKey { .. }, _) => {
            SshError::UnknownKeyBehind { host, destination: destination.argument().to_owned() }
        }
        (SshError::Unreachable { .. } | SshError::Lost { .. }, Some(command)) => {
            let said = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
            SshError::Command { host, command: command.clone(), said: said.to_owned() }
        }
        (error, _) => error,
    }
}

fn line(words: &str, needle: &str) -> Option<String> {
    words.lines().map(str::trim).find(|line| line.contains(needle)).map(str::to_owned)
}

/// The host that an `ssh` speaks of, by its name or address.
fn speaker(words: &str) -> Option<String> {
    words.lines().find_map(|line| {
        let line = line.trim();
        if let Some((_, rest)) = line.split_once("connect to host ") {
            return rest.split(" port ").next().map(str::to_owned);
        }
        if let Some((who, _)) = line.split_once(": Permission denied (") {
            return who.rsplit_once('@').map(|(_, host)| host.to_owned());
        }
        for (before, after) in [("host key is known for ", " and "), ("Host key for ", " has changed")] {
            if let Some((_, rest)) = line.split_once(before) {
                let named = rest.split(after).next()?;
                return Some(named.trim_start_matches('[').split("]:").next()?.to_owned());
            }
        }
        if let Some((_, rest)) = line.split_once("Could not resolve hostname ") {
            return rest.split(": ").next().map(str::to_owned);
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(way: &Way, words: &str) -> String {
        judge(&Destination::parse("deploy@far").unwrap(), way, words).to_string()
    }

    #[test]
    fn a_command_that_is_an_ssh_of_its_own_names_its_host() {
        let command = Some("ssh -W %h:%p jump".to_owned());
        let way = Way { host: "10.0.0.7".into(), command, ..Way::default() };
        for (words, expected) in [
            (
                "ssh: connect to host 10.0.0.2 port 22: Connection refused\nkex_exchange_identification: Connection closed by remote host\n",
                "far is reached through 10.0.0.2, and 10.0.0.2 refused the connection",
            ),
            (
                "deploy@10.0.0.2: Permission denied (publickey).\n",
                "far is reached through 10.0.0.2, and 10.0.0.2 lets nobody in",
            ),
            ("deploy@10.0.0.7: Permission denied (publickey).\n", "far lets nobody in with these keys"),
            (
                "No ED25519 host key is known for 10.0.0.7 and you have requested strict checking.\nHost key verification failed.\n",
                "`ssh deploy@far` shows it and asks",
            ),
            ("Host key verification failed.\n", "by the command `ssh -W %h:%p jump`"),
            (
                "sh: 1: exec: nc: not found\nkex_exchange_identification: x\n",
                "no connection (sh: 1: exec: nc: not found)",
            ),
            (
                "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n",
                "it lets nobody through to other hosts",
            ),
        ] {
            assert!(of(&way, words).contains(expected), "{words}: {}", of(&way, words));
        }
    }

    #[test]
    fn behind_a_jump_host_that_is_well_the_host_itself_is_to_blame() {
        let way = Way { host: "10.0.0.7".into(), jumps: vec!["ann@10.0.0.2".into()], ..Way::default() };
        let refused = "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n";
        assert!(of(&way, refused).starts_with("far refused the connection (channel 0"), "{}", of(&way, refused));
        let closed = "channel 0: open failed: administratively prohibited: open failed\n";
        assert!(
            of(&way, closed).starts_with("far is reached through 10.0.0.2, and it lets nobody"),
            "{}",
            of(&way, closed)
        );
    }
}
