//! Replacing the root, and how that stands.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Authority, Inner};
use crate::ca::Random;
use crate::error::OpenError;
use crate::home::Home;
use crate::refused::RotationRefused;
use crate::rotation::{Phase, RotateError, State};
use crate::source::{RootShown, Source, view_of};

/// How an authority stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Those that are trusted.
    pub roots: Vec<RootShown>,
    /// Whether the authority is given as files.
    pub given: bool,
    /// Why files that changed are not in force.
    pub problem: Option<String>,
    /// What a rotation is at.
    pub phase: Phase,
    /// When the step under way is over at the latest, in seconds since 1970.
    pub due: Option<i64>,
    /// How many holders it waits for, and of which services.
    pub awaited: usize,
    pub awaited_services: BTreeSet<String>,
    /// Certificates that hold now.
    pub holders: usize,
    /// How many of those are not written down, because the disk takes nothing.
    pub unwritten: usize,
    /// Until when certificates may hold that are not among them, as records were lost; in seconds since 1970. A rotation waits
    /// for those, too.
    pub unknown_until: Option<i64>,
    /// When the certificate that signs ends, in seconds since 1970.
    pub not_after: i64,
}

impl Authority {
    /// Makes a new root and has everybody trust it beside the one that signs. Reads and writes files.
    ///
    /// # Errors
    /// [`RotationRefused`]; everything is as before then.
    pub fn rotate_start(&self) -> Result<(), RotationRefused> {
        self.rotate(|home, now, random| {
            if home.state.due().is_some() {
                return Err(RotateError::UnderWay.into());
            }
            let coming = home.prepare(now, random)?;
            Ok(home.state.start(coming, now)?)
        })
    }

    /// Goes on to the next step without waiting for anybody.
    ///
    /// # Errors
    /// [`RotationRefused`]; everything is as before then.
    pub fn rotate_force(&self) -> Result<(), RotationRefused> {
        self.rotate(|home, now, _| Ok(home.state.force(now)?))
    }

    /// Goes back to the root before.
    ///
    /// # Errors
    /// [`RotationRefused`]; everything is as before then.
    pub fn rotate_abort(&self) -> Result<(), RotationRefused> {
        self.rotate(|home, now, _| Ok(home.state.abort(now)?))
    }

    /// Takes the step that is safe by now, or reads files that changed. Whether something new is in force.
    ///
    /// # Errors
    /// When the step cannot be written down; it is taken the next time.
    pub fn look(&self) -> Result<bool, OpenError> {
        let (now, random) = ((self.world.now)(), &*self.world.random);
        let mut inner = self.lock();
        if let Some(view) = inner.source.look(&self.mesh.trust_domain, now, random) {
            inner.view = Arc::new(view);
            return Ok(true);
        }
        let Some(state) = inner.source.state() else {
            return Ok(false);
        };
        let evidence = inner.holders.evidence(state, &inner.view.digest, now);
        let Some(next) = state.advance(now, evidence) else {
            return Ok(false);
        };
        let Source::Made(home) = &mut inner.source else {
            return Ok(false);
        };
        tracing::info!(from = ?home.state.phase, to = ?next.phase, "the rotation of the root goes on");
        home.commit(next)?;
        inner.renew_view(random)?;
        Ok(true)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = (self.world.now)();
        let inner = self.lock();
        let state = inner.source.state();
        let awaited_services = state.map_or_else(BTreeSet::new, |state| {
            inner.holders.awaited(state, &inner.view.digest, now)
        });
        let evidence = state.map(|state| inner.holders.evidence(state, &inner.view.digest, now));
        let awaited = match (state.map(|state| &state.phase), evidence) {
            (Some(Phase::Spreading { .. }), Some(evidence)) => evidence.without_bundle,
            (Some(Phase::Retiring { .. }), Some(evidence)) => evidence.of_going,
            _ => 0,
        };
        Standing {
            roots: inner.view.shown(),
            given: state.is_none(),
            problem: inner.source.problem().map(str::to_owned),
            phase: state.map_or(Phase::Steady, |state| state.phase.clone()),
            due: state.and_then(State::due),
            awaited,
            awaited_services,
            holders: inner.holders.len(),
            unwritten: inner.owed.unwritten.len(),
            unknown_until: state.and(inner.holders.unknown_until(now)),
            not_after: inner.view.ca.not_after,
        }
    }

    fn rotate(
        &self,
        step: impl FnOnce(&mut Home, i64, &Random) -> Result<State, RotationRefused>,
    ) -> Result<(), RotationRefused> {
        let (now, random) = ((self.world.now)(), &*self.world.random);
        let mut inner = self.lock();
        let Source::Made(home) = &mut inner.source else {
            return Err(RotationRefused::Files);
        };
        let next = step(home, now, random)?;
        tracing::info!(from = ?home.state.phase, to = ?next.phase, "the rotation of the root is changed by hand");
        home.commit(next)?;
        Ok(inner.renew_view(random)?)
    }
}

impl Inner {
    fn renew_view(&mut self, random: &Random) -> Result<(), OpenError> {
        if let Source::Made(home) = &self.source {
            self.view = Arc::new(view_of(home, random)?);
        }
        Ok(())
    }
}
