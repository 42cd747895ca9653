# Event Flow's commands. `make run-local` and `make test` need only make and Python 3.11 or newer.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_INSTALLED := $(BENCH_VENV)/.installed
COUNT ?= 200
JOBS ?= 4
# Some machines forbid it by this variable. Then each process that the tests start compiles all modules again.
export PYTHONDONTWRITEBYTECODE :=
# The second run of `make test` measures, so it runs three files at a time at most. It reads only these files, because
# each of its processes would read all others in vain.
FILES_WITH_TIMED = $(shell grep --recursive --files-with-matches --include='test_*.py' 'pytest\.mark\.timed' tests)
SIDE_BY_SIDE = $(RUN) -m pytest --dist loadfile --no-loadscope-reorder
LOCK := $(VENV)/bin/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

##@ Use
run-local: $(INSTALLED) ## Run broker, target, collector, two processors and the console on this machine until Ctrl-C
	@exec $(RUN) -m sandbox.up

send: $(INSTALLED) ## Send COUNT=200 sample events to the collector of `make run-local`, and watch them arrive
	@$(RUN) -m sandbox.source --local --count $(COUNT)

run-example: $(INSTALLED) ## Run a shop whose handler books orders in PostgreSQL (deploy/examples/shop) on this machine until Ctrl-C
	@exec $(RUN) -m sandbox.shop

orders: $(INSTALLED) ## Post COUNT=200 orders to the shop of `make run-example`, some of them twice, and follow them to their end
	@$(RUN) -m sandbox.shop.orders --count $(COUNT)

status: $(INSTALLED) ## Show the flows and the services of `make run-local` or `make run-example`; .venv/bin/eventflow has all other commands
	@$(VENV)/bin/eventflow status

##@ Develop
install: $(INSTALLED) ## Create the virtual environment .venv from requirements-dev.lock

test: $(INSTALLED) ## Run all tests, JOBS=4 files at a time; starts or installs RabbitMQ, PostgreSQL, Prometheus and Chromium if possible
	@$(RUN) -m sandbox.broker --ensure || test "$$CI" != true
	@$(RUN) -m sandbox.database --ensure || test "$$CI" != true
	@$(RUN) -m sandbox.programs || test "$$CI" != true
	@$(SIDE_BY_SIDE) --numprocesses $(JOBS) -m "not timed$(if $(filter true,$(CI)),, and not documents)"; untimed=$$?; \
		$(SIDE_BY_SIDE) --numprocesses $(if $(filter 1 2,$(JOBS)),$(JOBS),3) -m timed $(FILES_WITH_TIMED) && exit $$untimed

test-documents: $(INSTALLED) ## Run the commands of the documents as a reader would; with CI=true, make test does this too
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m pytest -m documents

test-unit: $(INSTALLED) ## Run only the tests that need no broker
	@$(RUN) -m pytest tests/unit

test-integration: $(INSTALLED) ## Run only the tests against a real RabbitMQ and PostgreSQL
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m sandbox.database --ensure || test "$$CI" != true
	@$(RUN) -m pytest tests/integration tests/e2e

screenshots: $(INSTALLED) ## Write the pictures of the documents to docs/images/
	@$(RUN) -m sandbox.programs
	@$(RUN) -m tests.browser.pictures

chaos: $(INSTALLED) ## Kill, disconnect and block every part under load and count lost events; ONLY="alarm 22" selects faults, CHAOS_SEED=N repeats a run
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m tests.chaos $(ONLY)

chaos-report: $(INSTALLED) ## Run `make chaos`, and write the table to docs/reliability.md
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m tests.chaos --report $(ONLY)

test-kubernetes: $(INSTALLED) ## Disturb an installation on the cluster of KUBECONFIG under load, 50 minutes; ONLY="drained zone" selects scenarios
	@$(RUN) -m tests.kubernetes $(ONLY)

test-kubernetes-report: $(INSTALLED) ## Run `make test-kubernetes`, and write the table to docs/availability.md
	@$(RUN) -m tests.kubernetes --report $(ONLY)

test-cluster: $(INSTALLED) ## Restart, cut off and destroy parts of deploy/cluster under load, 40 minutes; needs Docker; ONLY="network brokers" selects scenarios
	@$(RUN) -m tests.cluster $(ONLY)

test-cluster-report: $(INSTALLED) ## Run `make test-cluster`, and write its rows to docs/availability.md
	@$(RUN) -m tests.cluster --report $(ONLY)

bench: $(INSTALLED) $(BENCH_INSTALLED) ## Compare the speed with peers and ceilings, 25 minutes; ONLY="ingest delivery" (9) or ONLY=soak (20) selects groups, ARGS="--quick --json FILE"
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m benchmarks.bench $(ARGS) $(ONLY)

bench-report: $(INSTALLED) $(BENCH_INSTALLED) ## Run `make bench`, and write the tables to docs/performance.md
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m benchmarks.bench --report $(ARGS) $(ONLY)

rate-audit: $(INSTALLED) ## Check by the target's clock that many processors keep to one quota, 12 minutes; ARGS="--quick"
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m benchmarks.rate_audit $(ARGS)

rate-audit-report: $(INSTALLED) ## Run `make rate-audit`, and write the table to docs/rate-limiting.md
	@$(RUN) -m sandbox.broker --ensure
	@$(RUN) -m benchmarks.rate_audit --report $(ARGS)

record-release: $(INSTALLED) ## Record the data that this version writes, for the tests of all later versions; run it before a release
	@$(RUN) -m tests.fixtures.record

lint: $(INSTALLED) ## Check format, style, types and imports
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(INSTALLED) ## Format the code, and generate docs/configuration.md and parts of the Helm chart
	@$(VENV)/bin/ruff check --fix --quiet . || true
	@$(VENV)/bin/ruff format .
	@$(RUN) -m eventflow.cli settings --markdown > docs/configuration.md
	@$(RUN) deploy/helm/generate.py

lock: $(INSTALLED) ## Pin the dependencies again, with hashes and without index addresses
	@$(LOCK) --extra=postgres --output-file=requirements.lock pyproject.toml
	@$(LOCK) --constraint=requirements.lock --extra=postgres --extra=dev --output-file=requirements-dev.lock pyproject.toml
	@$(LOCK) --constraint=requirements.lock --extra=bench --output-file=requirements-bench.lock pyproject.toml
	@$(LOCK) --build-deps-for=wheel --only-build-deps --output-file=deploy/requirements-build.lock pyproject.toml

clean: ## Remove the virtual environment, caches and the local broker's data
	@rm -rf $(VENV) $(BENCH_VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-23s %s\n", $$1, $$2}' $(MAKEFILE_LIST); echo

$(INSTALLED): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Event Flow needs Python 3.11 or newer, and none was found on PATH." >&2; exit 1; }
	@test -x $(RUN) || echo "Creating the virtual environment $(VENV) ..."
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(RUN) -m sandbox.install requirements-dev.lock
	@echo "Installing Event Flow itself ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(BENCH_INSTALLED): requirements-bench.lock | $(INSTALLED)
	@test -x $(BENCH_VENV)/bin/python || $(RUN) -m venv $(BENCH_VENV)
	@echo "Installing the pinned peers into $(BENCH_VENV) ..."
	@$(BENCH_VENV)/bin/python -m sandbox.install requirements-bench.lock
	@touch $@

.PHONY: run-local send run-example orders status install test test-documents test-unit test-integration test-cluster test-cluster-report screenshots test-kubernetes test-kubernetes-report chaos chaos-report bench bench-report rate-audit rate-audit-report record-release \
	lint format lock clean help
