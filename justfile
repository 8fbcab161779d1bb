# Recipes for people; each is one command that also works without just. CI calls .ci/run.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list

# Try it: two built-in origins, the proxy, the control plane and the dashboard.
up *args:
    cargo run --release -- demo {{args}}

# Every test of the workspace, the end-to-end ones included.
test *args:
    cargo test --workspace {{args}}

# Rewrite the expected files of the golden tests; look at the diff before committing it.
golden:
    WEIR_UPDATE_GOLDEN=1 cargo test -p weir-config

# The seeded simulations of the pure decisions, more seeds than a test run takes.
sim seeds="2000":
    PROPTEST_CASES={{seeds}} cargo test --release -p weir-decide -p weir-plan
    WEIR_SIM_SEEDS={{seeds}} cargo test --release -p weir-tests --test sim

# What workers share (limits, the line of those who wait, the published generation) under every interleaving of a few threads.
loom:
    RUSTFLAGS="--cfg loom" cargo test --release --target-dir target/loom -p weir-decide --lib loom
    cargo test -p weir-proxy --features loom --lib loom

# Measure against the peers that are installed; the table and benches/results/*.csv.
bench *args:
    cargo run --release -p weir-benches -- {{args}}

# Micro benches of the decisions.
bench-micro *args:
    cargo bench -p weir-benches {{args}}

# Fuzz every target for that many seconds (needs: rustup toolchain install nightly, cargo install cargo-fuzz).
fuzz seconds="600":
    cd fuzz && for target in $(cargo +nightly fuzz list); do cargo +nightly fuzz run "$target" -- -max_total_time={{seconds}} -timeout=10 -rss_limit_mb=2048; done

# Build the FROM scratch image without a registry.
image tag="weir:dev":
    deploy/image.sh {{tag}}

# What continuous integration runs.
ci:
    .ci/run
