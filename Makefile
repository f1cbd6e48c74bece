# The front door. `make demo` and `make test` do all their own set-up; run them as root on Debian 12
# with Rust, Go, Python, Node and Java toolchains.
.PHONY: help setup build demo test lab score score-relay score-sim lint scenarios bench-correlator bench-live

# Asked when it is used: before the set-up there is none.
in_tests = python=$$(tests/parts/setup.sh --print-env | sed -n 's/^THROUGHLINE_PYTHON=//p') && cd tests && "$$python"

help:
	@echo "make demo    1,000 real requests through real NAT, three paths, the score (KEEP=1 leaves it running)"
	@echo "make test    everything CI runs: cargo, live kernel programs, four scored runs, faults"
	@echo "make lab     the cluster with the product, until Ctrl-C (MODE=nftables, UNTRACED=1)"
	@echo "make score   the scorer's lines of the last runs again"
	@echo "make score-relay  the statistical relay on DATA=<folder of *.spans.csv.gz> [COMPRESS=N]"
	@echo "make score-sim  simulated runs against their truth and the bars (SIZE=small, SEED=1, KEEP=1)"
	@echo "make bench-correlator  stages P and F at the simulated peak, beside DuckDB and DataFusion (RATE=, SECONDS=60,10,300)"
	@echo "make bench-live  raw commits in real time and how soon paths can be queried (RATE=10000, SECONDS=180)"
	@echo "make build   the binaries and kernel programs, in target/debug"
	@echo "make scenarios  the hard cases of correlation, each a transcript; the last line is passed/all"
	@echo "make lint    formatting, and the bans of the pure crates"

setup:
	@tests/parts/setup.sh

build: setup
	@cargo build --workspace --bins

demo: build
	@$(in_tests) -m lab demo $(if $(KEEP),--keep)

lab: build
	@$(in_tests) -m lab up --product --mode $(or $(MODE),iptables) $(if $(UNTRACED),--untraced)

test:
	@tests/all.sh

score:
	@$(in_tests) -m score --last $$(ls -d ../target/runs/*/score.json | xargs -n1 dirname)

# An optimised build of its own: two small packages, and the score holds CPU times.
score-relay:
	@cargo build --quiet --release -p throughline-score-relay
	@"$${CARGO_TARGET_DIR:-target}"/release/score-relay "$(DATA)" --compress $(or $(COMPRESS),1)

score-sim: setup
	@cargo build $(if $(filter small,$(SIZE)),,--release) --bins -p throughline -p throughline-sim
	@$(in_tests) -m score.sim.run --size $(or $(SIZE),full) $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep)

lint:
	@cargo fmt --all -- --check
	@cargo clippy --all-targets -p throughline-join -p throughline-tables -p throughline-wire \
		-p throughline-agent-ebpf -p throughline-tests -p throughline-score-relay -- -D warnings

scenarios:
	@cargo build --quiet -p throughline-scenario
	@"$${CARGO_TARGET_DIR:-target}"/debug/scenarios

bench-correlator:
	@cargo build --quiet --release -p throughline-bench
	@python="$$(tests/bench/peers/python.sh)" && "$${CARGO_TARGET_DIR:-target}"/release/throughline-bench \
		correlator --python "$$python" $(if $(RATE),--rate $(RATE)) $(if $(SECONDS),--seconds $(SECONDS))

bench-live:
	@cargo build --quiet --release -p throughline-bench
	@"$${CARGO_TARGET_DIR:-target}"/release/throughline-bench live \
		$(if $(RATE),--rate $(RATE)) $(if $(SECONDS),--seconds $(SECONDS))
