.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## Make .venv with everything that the demo and the tests need

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gpu,embedded,dev]'
	touch $@

demo: install ## Explain and score every neuron of the demo model, here and now
	$(BIN)/neurogloss demo

test: install ## Run the tests; T=tests/unit for a part
	$(BIN)/pytest $(T)

fuzz: install ## Read 5,000 fuzzed inputs with every reader of files and answers
	$(BIN)/pytest tests/fuzz tests/integration/datasets/test_hostile_imports.py --hypothesis-profile=fuzz

test-chaos: install ## Disturb 100 runs with 1,000 faults, in two hours; SEED=7 replays one
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED),--schedules 100)

test-mutations: install ## Take each protection out of the workers, and see that test-chaos misses it
	$(BIN)/python -m tests.chaos.mutations

test-web: install ## Look at every page in Chromium; pictures go to test-results/screenshots
	$(BIN)/pytest tests/web

images: ## Build the images for docker compose, with the commit that they say
	COMMIT=$$(git describe --always --dirty --exclude='*') docker compose --profile gpu build

wheels: ## Download what images contain to deploy/wheels; TORCH=torch==2.13.0+cpu for another build
	docker build --file deploy/Dockerfile --target wheels $(if $(TORCH),--build-arg TORCH=$(TORCH)) \
		$(DOCKER_BUILD_FLAGS) --output deploy/wheels .

test-compose: ## Go through docker-compose.yml as an operator does, on the engine of DOCKER_HOST
	tests/compose/run

test-hosts: install ## Run the demo job on three network namespaces, with wires cut and mended; needs root
	tests/hosts/run

test-compatibility: install ## Run against llama.cpp's server and a model of random weights
	tests/compatibility/run

test-real-model: install ## Run against SmolLM2, a real language model
	tests/real_model/run

check: install audit ## Lint, format, types, arrows, deployments, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_deployments.py

audit: install ## Look the pinned dependencies up in the database of known vulnerabilities
	$(BIN)/python .ci/audit.py

docs: .venv/docs-installed ## Write the pages that come from the code, and build the site of docs/ in site/
	$(BIN)/python -m neurogloss.config.reference >docs/configuration.md
	$(BIN)/python -m db.saved_queries >docs/sql.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html is written: $(BIN)/mkdocs serve shows it at http://127.0.0.1:8000"

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

migrate: install ## Bring the database of DATABASE_URL, or the embedded one, to this schema
	$(BIN)/neurogloss migrate

constraints: install ## Pin the newest versions that pyproject.toml allows
	$(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o constraints.txt pyproject.toml

.PHONY: help install demo test fuzz test-chaos test-mutations test-web images wheels test-compose test-hosts test-compatibility test-real-model check audit docs migrate constraints
