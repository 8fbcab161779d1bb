//! Whatever goes away, in whatever order: the control plane, proxies, containers, the channel between them. Under load.
//!
//! A seed decides what happens. Each step is drawn among the moves that leave an endpoint up which every proxy knows, so that
//! every request can be answered, and every request must be: by a proxy that runs, within its tries. In the end all is put right,
//! and all must say the same. `WEIR_CHAOS_SEED` gives another seed, `WEIR_CHAOS_STEPS` another number of steps.

mod channel;
mod town;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use weir_tests::docker;

use channel::Channel;
use town::Town;

/// Without a word about it in the environment.
const SEED: u64 = 5;
const STEPS: u64 = 16;

const CONTAINERS: usize = 4;
const PROXIES: usize = 3;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    EndControl(Signal),
    StartControl,
    EndProxy(usize, Signal),
    StartProxy(usize),
    EndContainer(usize),
    StartContainer(usize),
    CutChannel,
    MendChannel,
}

/// What is up, as the moves have it, and what proxies are known to know.
struct State {
    control: bool,
    channel: bool,
    proxies: [bool; PROXIES],
    containers: [bool; CONTAINERS],
    /// Containers that every proxy had heard of when all was heard last, and that were up ever since.
    anchors: BTreeSet<usize>,
    cuts: bool,
}

impl State {
    fn new(cuts: bool) -> Self {
        Self {
            control: true,
            channel: true,
            proxies: [true; PROXIES],
            containers: [true; CONTAINERS],
            anchors: (0..CONTAINERS).collect(),
            cuts,
        }
    }

    /// Everything that may happen now. What is down comes up again as often as something goes down.
    fn moves(&self) -> Vec<Move> {
        let mut all = Vec::new();
        match self.control {
            true => all.extend([Signal::KILL, Signal::TERM].map(Move::EndControl)),
            false => all.extend([Move::StartControl; 3]),
        }
        match self.channel {
            true if self.cuts => all.push(Move::CutChannel),
            true => {}
            false => all.extend([Move::MendChannel; 3]),
        }
        for (at, up) in self.proxies.iter().enumerate() {
            match up {
                true if self.proxies.iter().filter(|up| **up).count() > 1 => {
                    all.extend(
                        [Signal::KILL, Signal::TERM].map(|signal| Move::EndProxy(at, signal)),
                    );
                }
                true => {}
                false => all.extend([Move::StartProxy(at); 3]),
            }
        }
        for (at, up) in self.containers.iter().enumerate() {
            let others = self.anchors.iter().filter(|anchor| **anchor != at);
            match up {
                true if others.count() > 0 => all.extend([Move::EndContainer(at); 2]),
                true => {}
                false => all.extend([Move::StartContainer(at); 3]),
            }
        }
        all
    }

    fn take(&mut self, step: Move) {
        match step {
            Move::EndControl(_) => self.control = false,
            Move::StartControl => self.control = true,
            Move::EndProxy(at, _) => self.proxies[at] = false,
            Move::StartProxy(at) => self.proxies[at] = true,
            Move::EndContainer(at) => {
                self.containers[at] = false;
                self.anchors.remove(&at);
            }
            Move::StartContainer(at) => self.containers[at] = true,
            Move::CutChannel => self.channel = false,
            Move::MendChannel => self.channel = true,
        }
    }

    /// Whether everybody can hear of everything.
    fn hears(&self) -> bool {
        self.control && self.channel && self.proxies.iter().all(|up| *up)
    }

    fn up(&self) -> BTreeSet<usize> {
        (0..CONTAINERS).filter(|at| self.containers[*at]).collect()
    }

    /// What puts all right.
    fn mending(&self) -> Vec<Move> {
        let mut all = Vec::new();
        all.extend((!self.channel).then_some(Move::MendChannel));
        all.extend((!self.control).then_some(Move::StartControl));
        let down = |ups: &[bool]| -> Vec<usize> { (0..ups.len()).filter(|at| !ups[*at]).collect() };
        all.extend(down(&self.containers).into_iter().map(Move::StartContainer));
        all.extend(down(&self.proxies).into_iter().map(Move::StartProxy));
        all
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

#[test]
fn whatever_goes_away_no_request_fails_and_all_say_the_same_in_the_end() {
    if !docker::available() {
        return;
    }
    let (seed, steps) = (
        number("WEIR_CHAOS_SEED", SEED),
        number("WEIR_CHAOS_STEPS", STEPS),
    );
    let mut random = SmallRng::seed_from_u64(seed);
    let mut town = Town::build(PROXIES, CONTAINERS);
    let mut state = State::new(Channel::can_be_cut());
    let (began, mut told) = (Instant::now(), Vec::new());
    for step in 0..steps {
        let Some(next) = state.moves().choose(&mut random).copied() else {
            break;
        };
        told.push(format!("{:>5} ms: {next:?}", began.elapsed().as_millis()));
        state.take(next);
        town.make(next);
        // Some moves come on the heels of others.
        std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
        // Drawn whether it is possible or not, so that what follows is the same.
        let settles = random.random_ratio(1, 3) || step + 1 == steps;
        if settles && state.hears() {
            told.push(format!(
                "{:>5} ms: all is heard",
                began.elapsed().as_millis()
            ));
            town.settle(&state.up(), &told);
            state.anchors = state.up();
        }
    }
    for step in state.mending() {
        told.push(format!("{:>5} ms: {step:?}", began.elapsed().as_millis()));
        state.take(step);
        town.make(step);
    }
    town.settle(&state.up(), &told);
    let (requests, failures) = town.end();
    let story = || format!("seed {seed}:\n{}", told.join("\n"));
    assert!(
        failures.is_empty(),
        "{} of {requests} requests failed: {:#?}\n{}",
        failures.len(),
        &failures[..failures.len().min(5)],
        story()
    );
    assert!(requests > 1_000, "{requests} requests\n{}", story());
    weir_tests::say(&format!(
        "chaos of seed {seed}: {} moves in {:.1?}, {requests} requests, 0 failed",
        told.len(),
        began.elapsed()
    ));
}
