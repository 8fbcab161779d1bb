//! How the process's descriptors are shared out.

use rustix::process::{Resource, getrlimit};

use super::Options;

/// Pipes for long streams, two descriptors each: at most this many, which together may hold 64 MiB.
const MOST_PIPES: usize = 256;
/// With no more descriptors than that there are none: connections come first.
const FEW: usize = 512;

/// What all workers, or one of them, may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Client connections, each of which may need one to an endpoint.
    pub(crate) connections: usize,
    /// Pipes between the two.
    pub(crate) pipes: usize,
}

impl Descriptors {
    /// Of this process, by its limit.
    pub(super) fn of_process(options: &Options) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1 << 20);
        Self::within(limit, options.reserve_descriptors, options.max_connections)
    }

    /// At most an eighth of what the reserve leaves is for pipes, and the rest for connections; where their number is
    /// asked for, pipes have what they leave.
    fn within(limit: usize, reserve: usize, connections: Option<usize>) -> Self {
        let left = limit - reserve.min(limit / 4);
        let pipes = (left.saturating_sub(FEW) / 16).min(MOST_PIPES);
        match connections {
            None => Self {
                connections: (left / 2 - pipes).clamp(16, 1 << 20),
                pipes,
            },
            Some(connections) => Self {
                connections,
                pipes: pipes.min((left / 2).saturating_sub(connections)),
            },
        }
    }

    /// What one of so many workers may have.
    pub(super) fn share(self, workers: usize) -> Self {
        Self {
            connections: (self.connections / workers.max(1)).max(1),
            pipes: self.pipes / workers.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_pipes_fit_what_the_reserve_leaves() {
        for (limit, reserve, asked, connections, pipes) in [
            (256, 128, None, 96, 0),
            (1024, 128, None, 424, 24),
            (1 << 20, 128, None, 523_968, 256),
            // One that asks for all of it gets no pipes, and one that asks for little no more than the share.
            (1024, 128, Some(448), 448, 0),
            (1024, 128, Some(440), 440, 8),
            (1024, 128, Some(10), 10, 24),
            (1024, 128, Some(1 << 20), 1 << 20, 0),
        ] {
            let got = Descriptors::within(limit, reserve, asked);
            let want = Descriptors { connections, pipes };
            assert_eq!(got, want, "{limit} {reserve} {asked:?}");
        }
    }

    #[test]
    fn workers_share_alike_and_each_has_a_connection() {
        let all = Descriptors {
            connections: 7,
            pipes: 3,
        };
        for (workers, connections, pipes) in [(1, 7, 3), (2, 3, 1), (8, 1, 0)] {
            let want = Descriptors { connections, pipes };
            assert_eq!(all.share(workers), want, "{workers}");
        }
    }
}
