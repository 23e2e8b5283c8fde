//! The sources of events of one environment, and who subscribes to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use stack::{Kind, Resolved, ResourceRef};

use super::{
    cursor::Cursor,
    dead::{of_stem, stem},
    event::{CloudEvent, LARGEST},
    log::EventLog,
};
use crate::{environment::Environment, error::Error, revision::Loaded};

/// The logs of one environment, each opened when it is needed first.
pub(crate) struct Sources {
    folder: PathBuf,
    open: Mutex<BTreeMap<ResourceRef, Arc<Source>>>,
}

/// One log and the places of its subscribers.
pub(crate) struct Source {
    /// The events.
    pub(crate) log: EventLog,
    folder: PathBuf,
    cursors: Mutex<BTreeMap<ResourceRef, Arc<Mutex<Cursor>>>>,
}

impl Sources {
    /// The sources of the environment in `folder`.
    pub(crate) fn new(folder: &std::path::Path) -> Self {
        Self { folder: folder.join("events"), open: Mutex::default() }
    }

    /// A source's log, begun when there is none.
    pub(crate) fn get(&self, name: &ResourceRef) -> Result<Arc<Source>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = open.get(name) {
            return Ok(source.clone());
        }
        let source = Arc::new(Source::open(self.folder.join(name.to_string()))?);
        open.insert(name.clone(), source.clone());
        Ok(source)
    }

    /// Every source that is open, or that has a log.
    pub(crate) fn known(&self) -> BTreeSet<ResourceRef> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        names.chain(open.keys().cloned()).collect()
    }

    /// The folder of what could not be delivered.
    pub(crate) fn dead(&self) -> PathBuf {
        self.folder.join("dead")
    }
}

impl Source {
    fn open(folder: PathBuf) -> Result<Self, Error> {
        let log = EventLog::open(&folder)?;
        let mut cursors = BTreeMap::new();
        let list = std::fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
        for path in list.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            let Some(name) = name.and_then(of_stem) else { continue };
            if let Some(cursor) = Cursor::find(&path)? {
                cursors.insert(name, Arc::new(Mutex::new(cursor)));
            }
        }
        Ok(Self { log, folder, cursors: Mutex::new(cursors) })
    }

    /// The place of a receiver, which begins with the events that come when it is new.
    pub(crate) fn subscribe(&self, to: &ResourceRef) -> Result<Arc<Mutex<Cursor>>, Error> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cursor) = cursors.get(to) {
            return Ok(cursor.clone());
        }
        let cursor = Cursor::begin(&self.folder.join(format!("{}.json", stem(to))), self.log.next())?;
        let cursor = Arc::new(Mutex::new(cursor));
        cursors.insert(to.clone(), cursor.clone());
        Ok(cursor)
    }

    /// Forgets receivers that subscribe no more, and events that everybody has.
    pub(crate) fn tidy(&self, keep: &BTreeSet<ResourceRef>) -> Result<(), Error> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<ResourceRef> = cursors.keys().filter(|name| !keep.contains(*name)).cloned().collect();
        for name in gone {
            let path = self.folder.join(format!("{}.json", stem(&name)));
            std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            cursors.remove(&name);
        }
        let places = cursors.values().map(|cursor| cursor.lock().unwrap_or_else(PoisonError::into_inner).next());
        let before = places.min().unwrap_or_else(|| self.log.next());
        self.log.forget_before(before)
    }

    fn has_subscribers(&self) -> bool {
        !self.cursors.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// When an event was taken in. Source: `CloudEvents` extension "Recorded Time".
pub(crate) const RECORDED: &str = "recordedtime";

/// Tells the functions, services and queues that subscribe to `source` (`bucket.files`, `topic.orders`, `service.api`) of an event. Durable
/// before it returns; an event that nobody subscribes to is not kept.
///
/// Fails when the log or the disk is full, or the event is larger than 1 MiB as JSON: then nobody will hear of it, and
/// what caused it should be refused.
pub(crate) async fn emit(environment: &Environment, source: &ResourceRef, mut event: CloudEvent) -> Result<(), Error> {
    let subscribers = subscribers(environment, source);
    let known = environment.functions.sources.get(source)?;
    for to in &subscribers {
        // Before the event, so that it is among those that come.
        known.subscribe(to)?;
    }
    if !known.has_subscribers() {
        return Ok(());
    }
    event.extensions.insert(RECORDED.to_owned(), jiff::Timestamp::now().to_string().into());
    let size = event.to_json()?.len();
    if size > LARGEST {
        return Err(Error::failed(format!(
            "the event is {size} bytes, and the largest may have {LARGEST}; put the data into a bucket and send its key"
        )));
    }
    known.log.append(&event).await?;
    Ok(())
}

/// What of the releases that run wants events of a source.
pub(crate) fn subscribers(environment: &Environment, source: &ResourceRef) -> BTreeSet<ResourceRef> {
    let desired = environment.desired();
    let revisions = desired.running.iter().chain(&desired.schedules);
    let loaded = revisions.filter_map(|revision| environment.revisions.find(revision));
    loaded.flat_map(|loaded| of_release(&loaded, source)).collect()
}

/// What of a release wants events of a source.
pub(crate) fn of_release(loaded: &Loaded, source: &ResourceRef) -> BTreeSet<ResourceRef> {
    let functions = loaded.resolved.stack.functions.iter();
    let own = functions.filter(|(_, function)| function.on.as_ref().is_some_and(|trigger| trigger.on == *source));
    let own = own.map(|(name, _)| ResourceRef { kind: Kind::Function, name: name.clone() });
    own.chain(named(&loaded.resolved, source)).collect()
}

/// The functions, services and queues that a topic names in `to`.
pub(crate) fn named(resolved: &Resolved, source: &ResourceRef) -> Vec<ResourceRef> {
    let topic = resolved.stack.extras.get(source).filter(|_| source.kind == Kind::Topic);
    let to = topic.and_then(|topic| topic.settings.get("to"));
    let texts = to.map(|to| to.as_array().cloned().unwrap_or_else(|| vec![to.clone()])).unwrap_or_default();
    let references = texts.iter().filter_map(|text| text.as_str()?.parse::<ResourceRef>().ok());
    references.filter(|to| matches!(to.kind, Kind::Function | Kind::Service | Kind::Queue)).collect()
}

/// Every source whose events something of a release wants.
pub(crate) fn all_of(loaded: &Loaded) -> BTreeSet<ResourceRef> {
    let stack = &loaded.resolved.stack;
    let kept = |kind: Kind| matches!(kind, Kind::Topic | Kind::Bucket | Kind::Service);
    let triggers = stack.functions.values().filter_map(|function| function.on.as_ref()).map(|trigger| &trigger.on);
    let topics = stack.extras.keys().filter(|name| !named(&loaded.resolved, name).is_empty());
    triggers.chain(topics).filter(|name| kept(name.kind)).cloned().collect()
}
