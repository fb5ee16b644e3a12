//! Single flight: however many readers lack the same block at once, it is loaded once, and all of them get it. Not
//! here: how it is loaded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use panscan_core::port::Found;
use tokio::sync::watch;

use crate::key::Name;
use crate::locked;

/// `None` until it is known.
type Answer = Option<Option<Found>>;
type Receiver = watch::Receiver<Answer>;

/// The loads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    loads: HashMap<Name, (u64, Receiver)>,
    last: u64,
}

/// Loads that the holder has taken on. Those without an answer when it is dropped have none.
#[derive(Debug)]
pub(crate) struct Claim {
    loads: Arc<Loads>,
    number: u64,
    mine: Vec<(Name, watch::Sender<Answer>)>,
}

impl Loads {
    /// What to wait for, in the order of `names`, and the loads among it that nobody does yet.
    pub(crate) fn claim(self: &Arc<Self>, names: Vec<Name>) -> (Vec<Receiver>, Claim) {
        let open = &mut *locked(&self.open);
        open.last += 1;
        let number = open.last;
        let mut mine = Vec::new();
        let receivers = names.into_iter().map(|name| {
            if let Some((_, receiver)) = open.loads.get(&name) {
                return receiver.clone();
            }
            let (sender, receiver) = watch::channel(None);
            open.loads.insert(name.clone(), (number, receiver.clone()));
            mine.push((name, sender));
            receiver
        });
        let receivers = receivers.collect();
        (receivers, Claim { loads: self.clone(), number, mine })
    }

    /// Runs `change`, which puts another version in place of what these names stand for or takes them away: loads that
    /// began before it are not joined any more, and what they bring is not kept.
    pub(crate) fn overtake(&self, name: &Name, change: impl FnOnce()) {
        let open = &mut *locked(&self.open);
        open.loads.remove(name);
        change();
    }
}

impl Claim {
    /// The names to load.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.mine.iter().map(|(name, _)| name)
    }

    /// Runs `keep` if nothing has overtaken the load of this name.
    pub(crate) fn if_current(&self, name: &Name, keep: impl FnOnce()) {
        let open = &mut *locked(&self.loads.open);
        if open.loads.get(name).is_some_and(|(number, _)| *number == self.number) {
            keep();
        }
    }

    /// Answers all of them, in the order of [`Claim::names`].
    pub(crate) fn answer(self, found: Vec<Option<Found>>) {
        for ((_, sender), found) in self.mine.iter().zip(found) {
            sender.send_replace(Some(found));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let open = &mut *locked(&self.loads.open);
        for (name, _) in &self.mine {
            if open.loads.get(name).is_some_and(|(number, _)| *number == self.number) {
                open.loads.remove(name);
            }
        }
    }
}

/// Waits for the answer; a load that ended without one found nothing.
pub(crate) async fn landed(mut receiver: Receiver) -> Option<Found> {
    match receiver.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().flatten(),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::port::BlockKey;
    use panscan_core::snapshot::MarketId;
    use panscan_core::time::SessionDate;

    fn name(n: i32) -> Name {
        (MarketId::new("m"), BlockKey::Day(SessionDate::from_days(n)))
    }

    #[tokio::test]
    async fn one_loads_and_all_get_it_unless_a_write_came_between() {
        let loads = Arc::new(Loads::default());
        let (first, claim) = loads.claim(vec![name(1), name(2), name(1)]);
        assert_eq!((first.len(), claim.names().count()), (3, 2));
        let (joined, none) = loads.claim(vec![name(2)]);
        assert_eq!(none.names().count(), 0);
        drop(none);
        let kept = |claim: &Claim, n: i32| {
            let mut kept = false;
            claim.if_current(&name(n), || kept = true);
            kept
        };
        assert!(kept(&claim, 1) && kept(&claim, 2));
        loads.overtake(&name(1), || {});
        assert!(!kept(&claim, 1) && kept(&claim, 2));
        let (_, later) = loads.claim(vec![name(1)]);
        assert_eq!(later.names().count(), 1, "what began before a write is not joined after it");
        claim.answer(vec![None, None]);
        assert!(kept(&later, 1));
        for receiver in first.into_iter().chain(joined) {
            assert!(landed(receiver).await.is_none());
        }
        let (waits, _) = loads.claim(vec![name(1)]);
        drop(later);
        assert!(landed(waits.into_iter().next().unwrap()).await.is_none(), "nobody answers any more");
        assert!(locked(&loads.open).loads.is_empty());
    }
}
