# The chores; `make help` lists them. Each needs Rust and nothing else: PostgreSQL and buf are
# found, or fetched. .ci/run runs the same targets.
.DEFAULT_GOAL := help
.PHONY: help run test bench lint fmt

# The server looks where this installs, so it is not told: among several versions it takes the one
# that wrote the data.
POSTGRES = scripts/postgres >/dev/null

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the server with demo organizations on its own PostgreSQL
	@$(POSTGRES) && cargo run -- serve --demo

test: ## build and run every test
	@$(POSTGRES) && scripts/grpcurl >/dev/null && scripts/python-client >/dev/null && cargo test

bench: ## measure everything that docs/performance.md claims
	@$(POSTGRES) && cargo bench

lint: ## check formatting, clippy, the protos and the documentation
	@scripts/lint

fmt: ## format the code
	@scripts/rust-component rustfmt
	cargo fmt
