# make run    serve on http://localhost:5000 (this machine only); needs nothing but Python 3.11+
# make test   all tests that need no other server
# make check  format, lint, types
# make bench  load runs of Bridge against the raw floor, one core each side (bench/peers.sh: the others too)
# make proof  the heavy proofs, in full; writes docs/proof.md

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check format proof bench clean

run: .venv/runtime
	@$(BIN)/python manage.py serve --local

test: .venv/dev
	$(BIN)/python -m pytest -q --numprocesses auto --dist loadfile

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proof: .venv/dev
	$(BIN)/python -m tests.faults.proof --full --write docs/proof.md

bench: .venv/dev
	$(BIN)/python -m bench.run direct floor bridge

.venv/runtime: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev: requirements.txt requirements-oidc.txt requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/runtime

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
