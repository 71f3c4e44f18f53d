# The two commands: `make dev` serves the chat, `make test` passes all tests. Both install what is missing first.

# Node 22 from npm goes first: wrangler needs it, and the machine's own may be 20.
export PATH := $(CURDIR)/node_modules/.bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
export WRANGLER_SEND_METRICS := false

.PHONY: help setup dev db build test test-pooler soak fuzz check llm bench bench-growth clean

help:
	@echo "make dev     install what is missing and serve the chat on http://127.0.0.1:8787 (PORT=...)"
	@echo "make db      start only the database, for a plain \`npx wrangler dev\` beside it"
	@echo "make llm     serve a real small model on http://127.0.0.1:8080"
	@echo "make test    run every test"
	@echo "make test-pooler  the black-box tests with PgBouncer between the Worker and PostgreSQL"
	@echo "make soak    nine minutes of random faults, or SOAK_SECONDS of them; nothing may be lost"
	@echo "make fuzz    the property tests of all parsers with a million inputs each, or FUZZ_CASES of them"
	@echo "make check   formatting, types, lints, and what a deployment would upload"
	@echo "make bench   measure the service against its peers, in ten minutes (bench/README.md)"
	@echo "make bench-growth  the same with ever longer replies and histories and ever more streams"
	@echo "make clean   remove everything that was built, installed or stored in this folder"

setup:
	@scripts/tools.sh

dev: setup
	@exec node scripts/dev.js

db: setup
	@exec node scripts/dev.js --database-only

build: setup
	@scripts/build.sh

test: build
	cargo test --quiet
	node tests/run.js $(TESTS)

test-pooler: build
	TEST_POOLER=1 node tests/run.js $(TESTS)

soak: build
	SOAK_SECONDS=$(or $(SOAK_SECONDS),540) node tests/run.js tests/faults.test.js --test-name-pattern=random

fuzz:
	PROPTEST_CASES=$(or $(FUZZ_CASES),1000000) CARGO_PROFILE_TEST_OPT_LEVEL=2 cargo test --lib --target-dir target/fuzz

check: setup
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --target wasm32-unknown-unknown -- -D warnings
	tsc -p web
	wrangler deploy --dry-run --env production

llm:
	@scripts/llm.sh

bench: build
	@exec bench/start.sh run

bench-growth: build
	@exec bench/start.sh growth

clean:
	rm -rf build target node_modules .data .wrangler .screenshots
