//! What an identity from the authority needs over time: a newer certificate before this one ends, and the roots of now.

use std::sync::Arc;

use weir_xds_client::Line;

use super::Publisher;
use crate::authority::{Came, FromAuthority, Told};
use crate::channel::AskError;
use crate::identity::Identity;
use crate::key::Fresh;
use crate::last::Last;
use crate::schedule::{End, about, renew_at, retry_in};
use crate::world::World;

/// How often the roots are asked for while the authority does not say or cannot be asked.
const ASK: i64 = 60_000;
/// A new certificate and new roots are reported as in force after that long.
const REPORT: i64 = 1_000;
/// The clock is looked at this often at least: it may have been set.
const LOOK: i64 = 30_000;
/// Between two lines in the log that say that the end is near or has passed.
const LOUD: i64 = 60_000;

/// Times are milliseconds since 1970.
pub(super) struct Upkeep {
    pub(super) identity: Arc<Identity>,
    pub(super) received: i64,
    renew: When,
    ask: When,
    failures: u32,
    said: Said,
}

/// A time at which something is to be done. A clock that is set back meanwhile does not put it off, nor one that went ahead and
/// was set right: it comes when as much has passed as was to, if not before.
#[derive(Debug, Clone, Copy)]
struct When {
    at: i64,
    passed: i64,
}

impl When {
    fn at(at: i64, world: &World) -> Self {
        let passed = world.passed_ms() + at - world.now_ms();
        Self { at, passed }
    }

    /// In how many milliseconds; none or fewer: now.
    fn is_in(self, world: &World) -> i64 {
        (self.at - world.now_ms()).min(self.passed - world.passed_ms())
    }

    fn earlier(self, other: Self) -> Self {
        match self.at <= other.at {
            true => self,
            false => other,
        }
    }
}

/// What was said of failures last.
#[derive(Default)]
struct Said {
    why: String,
    at: i64,
}

impl Upkeep {
    /// Of a certificate that just came.
    pub(super) fn fresh(came: Came, world: &World) -> Self {
        let now = world.now_ms();
        Self {
            renew: When::at(
                renew_at(now, came.identity.not_after * 1000, world.jitter()),
                world,
            ),
            // That it is in force is to be known there: only then the one before is forgotten.
            ask: When::at(
                now + about(REPORT.min(came.ask_again_ms), world.jitter()),
                world,
            ),
            identity: Arc::new(came.identity),
            received: now,
            failures: 0,
            said: Said::default(),
        }
    }

    /// Of one that was kept.
    pub(super) fn resumed(identity: Identity, received: i64, world: &World) -> Self {
        Self {
            renew: When::at(
                renew_at(received, identity.not_after * 1000, world.jitter()),
                world,
            ),
            // Much may have happened meanwhile.
            ask: When::at(world.now_ms(), world),
            identity: Arc::new(identity),
            received,
            failures: 0,
            said: Said::default(),
        }
    }

    fn end_ms(&self) -> i64 {
        self.identity.not_after * 1000
    }
}

/// Keeps it current for as long as the task lives.
pub(super) async fn run(
    mut upkeep: Upkeep,
    from: FromAuthority,
    last: Option<Last>,
    publisher: Publisher,
    line: Line,
    world: World,
) {
    // For a token that is tried once the certificate has ended: the same key each time, as at the start.
    let mut spare = None;
    loop {
        let (to_renew, to_ask) = (upkeep.renew.is_in(&world), upkeep.ask.is_in(&world));
        if to_renew > 0 && to_ask > 0 {
            world.sleep_ms(to_renew.min(to_ask).min(LOOK)).await;
            continue;
        }
        if to_renew <= 0 {
            let came = renew(&upkeep.identity, &from, &mut spare, &world).await;
            let is_renewed = came.is_ok();
            took(&mut upkeep, came, last.as_ref(), &publisher, &world);
            if is_renewed {
                line.renew();
            }
        } else {
            let told = from.ask(&upkeep.identity, &line, &world).await;
            heard(&mut upkeep, told, last.as_ref(), &publisher, &world);
        }
    }
}

/// By itself while it holds, and by a token, if there is one, once it does not.
async fn renew(
    own: &Identity,
    from: &FromAuthority,
    spare: &mut Option<Fresh>,
    world: &World,
) -> Result<Came, AskError> {
    if own.not_after >= world.now() {
        return from.renew(own, world).await;
    }
    if !from.has_token() {
        return Err(AskError::Refused(
            "the certificate has ended and there is no token; make one with weir token create"
                .to_owned(),
        ));
    }
    let key = match spare.take() {
        Some(key) => key,
        None => Fresh::make().map_err(AskError::failed)?,
    };
    let came = from.join(&key, world).await;
    if came.is_err() {
        *spare = Some(key);
    }
    came
}

fn took(
    upkeep: &mut Upkeep,
    came: Result<Came, AskError>,
    last: Option<&Last>,
    publisher: &Publisher,
    world: &World,
) {
    match came {
        Ok(came) => {
            *upkeep = Upkeep::fresh(came, world);
            keep(last, &upkeep.identity, upkeep.received);
            publisher.status().renewed();
            tracing::info!(id = %upkeep.identity.id, not_after = upkeep.identity.not_after, "the certificate was renewed");
            publisher.publish(Arc::clone(&upkeep.identity));
        }
        Err(error) => {
            let (now, why) = (world.now_ms(), error.to_string());
            publisher.status().failed(&why);
            tell(upkeep, &why, now);
            let wait = retry_in(upkeep.failures, now, upkeep.end_ms(), world.jitter());
            upkeep.renew = When::at(now + wait, world);
            upkeep.failures = upkeep.failures.saturating_add(1);
        }
    }
}

/// Louder as the end comes nearer, and not with each try.
fn tell(upkeep: &mut Upkeep, why: &str, now: i64) {
    let end = End::of(upkeep.received, upkeep.end_ms(), now);
    let again = end != End::Far && now - upkeep.said.at >= LOUD;
    if upkeep.said.why == why && !again {
        return;
    }
    upkeep.said = Said {
        why: why.to_owned(),
        at: now,
    };
    let (id, seconds) = (&upkeep.identity.id, (upkeep.end_ms() - now) / 1000);
    match end {
        End::Far => {
            tracing::warn!(%id, "the certificate was not renewed: {why}; it holds for another {seconds} s and is kept")
        }
        End::Near => {
            tracing::error!(%id, "the certificate ENDS IN {seconds} s and was not renewed: {why}")
        }
        End::Passed => {
            tracing::error!(%id, "the certificate HAS ENDED, others refuse it, and no newer one can be had: {why}")
        }
    }
}

fn heard(
    upkeep: &mut Upkeep,
    told: Result<Told, AskError>,
    last: Option<&Last>,
    publisher: &Publisher,
    world: &World,
) {
    let now = world.now_ms();
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            tracing::debug!(%error, "the roots could not be asked for; those of before stay in force");
            upkeep.ask = When::at(now + about(ASK, world.jitter()), world);
            return;
        }
    };
    upkeep.ask = When::at(now + about(told.ask_again_ms, world.jitter()), world);
    if told.renew {
        let soon = about(told.ask_again_ms, world.jitter()) / 2;
        upkeep.renew = upkeep.renew.earlier(When::at(now + soon, world));
    }
    let digest =
        |bundle: &[Vec<u8>]| weir_config::spiffe::bundle_digest(bundle.iter().map(Vec::as_slice));
    if digest(&told.bundle) == upkeep.identity.bundle_digest() {
        return;
    }
    match upkeep.identity.with_bundle(told.bundle) {
        Ok(identity) => {
            upkeep.identity = Arc::new(identity);
            keep(last, &upkeep.identity, upkeep.received);
            tracing::info!(
                roots = upkeep.identity.bundle.len(),
                "the mesh's roots changed"
            );
            publisher.publish(Arc::clone(&upkeep.identity));
            upkeep.ask = When::at(now + REPORT, world);
        }
        Err(error) => {
            // Nobody who trusts those takes this certificate any more.
            tracing::warn!(
                "the mesh's new roots do not go with the certificate ({error}): it is renewed now"
            );
            upkeep.renew = When::at(now, world);
        }
    }
}

/// That it cannot be kept is no reason to go without it.
pub(super) fn keep(last: Option<&Last>, identity: &Identity, received: i64) {
    if let Some(last) = last
        && let Err(error) = last.write(identity, received)
    {
        tracing::error!(
            "the identity cannot be kept in {}: {error}; after a restart a token is needed",
            last.path().display()
        );
    }
}
