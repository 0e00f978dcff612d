# Every target is one command; the logic is in xtask. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo run check test e2e bench soak

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## Build, start the platform, push two samples, show them, serve until Ctrl-C (DEMO_EXIT=1: end)
	@trap "" INT; cargo xtask demo

run: ## Build and run the platform, ready to push to, until Ctrl-C
	@trap "" INT; cargo xtask run

check: ## Format, lints, architecture, habits, licences
	@cargo xtask check

test: ## Everything CI runs, as root: checks, unit, containers, end to end, demo
	@cargo xtask test

e2e: ## Only the scenarios with the real cf CLI
	@cargo xtask e2e

bench: ## Measure the budgets with the release binary; writes docs/benchmarks.md (PARTS="router api": print only)
	@trap "" INT; cargo xtask bench $(PARTS)

soak: ## Deploy 1 000 times under load; Ctrl-C stops it, the next run goes on (SOAK_DEPLOYMENTS=100, SOAK_DIR)
	@trap "" INT; cargo xtask soak
