# The tasks by name; https://just.systems, or read and type them.

# Receiver and sandbox on loopback
run *args:
    cargo run -- serve --sandbox {{args}}

# All tests, with what they need installed
test *args:
    ./test {{args}}

# What CI checks besides the tests
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    .ci/check-docs
    deploy/check

# The Dockerfile, the chart, the modules, the alert rules, the licences
deploy:
    deploy/check

# Everything fails at once, and the mirror is judged: --changes 300, --for 2h, --seed 7, --pass-through
chaos *args:
    chaos/run {{args}}

# Each fuzz target for so many seconds
fuzz seconds="3600":
    fuzz/run {{seconds}}

fmt:
    cargo fmt --all

# The code's own documentation, and the JSON and links of the operators'
docs:
    .ci/check-docs
    cargo doc --no-deps --document-private-items
