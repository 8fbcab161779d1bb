//! The connection on which a control plane is followed, for others who have a question there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::transport::Channel;

use super::address::Address;

/// Shared by who follows, who asks, and who renews what is shown on new connections.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How often what is shown was renewed.
    renewals: watch::Sender<u64>,
    held: Mutex<Option<(Address, Channel)>>,
}

impl Line {
    /// The connection, if there is one to any of these addresses on which is shown what is to be shown now.
    #[must_use]
    pub fn to_any(&self, addresses: &[Address]) -> Option<Channel> {
        let held = self.held();
        let (to, channel) = held.as_ref()?;
        addresses.contains(to).then(|| channel.clone())
    }

    /// Something else is to be shown from now on: nobody asks on the connection that is there, and who follows makes a new one.
    pub fn renew(&self) {
        let mut held = self.held();
        *held = None;
        self.0.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// Taken before it is looked up what to show.
    pub(crate) fn place(&self) -> Place {
        Place {
            renewals: *self.0.renewals.borrow(),
            line: self.clone(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<(Address, Channel)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That of one connection; with it goes the connection.
pub(crate) struct Place {
    line: Line,
    renewals: u64,
}

impl Place {
    /// Others may ask on this connection, unless what it shows was renewed meanwhile.
    pub(crate) fn hold(&self, address: Address, channel: Channel) {
        let mut held = self.line.held();
        if *self.line.0.renewals.borrow() == self.renewals {
            *held = Some((address, channel));
        }
    }

    /// Waits until what it shows is renewed.
    pub(crate) async fn renewed(&self) {
        let mut renewals = self.line.0.renewals.subscribe();
        // The sender lives in the line.
        let _ = renewals.wait_for(|now| *now != self.renewals).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.line.held() = None;
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Endpoint;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_for_its_address_until_it_ends_or_shows_what_is_old() {
        let [here, there] = ["https://a:1", "https://b:1"].map(|a| a.parse::<Address>().unwrap());
        let channel = Endpoint::from_static("http://a:1").connect_lazy();
        let line = Line::default();
        let place = line.place();
        let to = |addresses: &[&Address]| {
            let addresses: Vec<_> = addresses.iter().map(|a| (*a).clone()).collect();
            line.to_any(&addresses).is_some()
        };
        assert!(!to(&[&here]));
        place.hold(here.clone(), channel.clone());
        assert!(to(&[&here]) && to(&[&there, &here]) && !to(&[&there]) && !to(&[]));
        line.renew();
        assert!(!to(&[&here]));
        place.renewed().await;
        // One that was made before is not offered after.
        place.hold(here.clone(), channel.clone());
        assert!(!to(&[&here]));
        drop(place);
        let place = line.place();
        place.hold(here.clone(), channel);
        drop(place);
        assert!(!to(&[&here]));
    }
}
