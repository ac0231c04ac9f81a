# `make demo` and `make test` need Python 3.11 or newer with pip, and make. Everything else they install into .venv.
PYTHON ?= python3
VENV := .venv
BACKENDS := tensorflow jax torch
RUN := runs/mmnist_frnn-quick

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint package results benchmark clean

demo: $(VENV)/demo  ## Train a small network on moving handwritten digits and draw what it predicts.
	rm -rf $(RUN)
	$(VENV)/bin/python recipes/mmnist_frnn.py --preset=quick --output=$(RUN)

test: $(VENV)/test  ## Run all tests on all three backends.
	@for backend in $(BACKENDS); do \
		echo "== KERAS_BACKEND=$$backend"; \
		KERAS_BACKEND=$$backend $(VENV)/bin/python -m pytest -q || exit 1; \
	done

lint: $(VENV)/test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

package: $(VENV)/test  ## Build sdist and wheel, install the wheel into an empty environment and import it.
	rm -rf dist build
	$(VENV)/bin/python -m build --outdir dist .
	rm -rf build/wheel-check
	$(VENV)/bin/python -m venv build/wheel-check
	build/wheel-check/bin/pip install -q -c tests/constraints.txt dist/*.whl
	cd build && wheel-check/bin/python -c "import keras_frnn; from keras_frnn import datasets, evaluation, layers, models; \
		print(keras_frnn.__version__, next(iter(datasets.moving_mnist('test', 'uci')))[0].shape)"

results: $(VENV)/demo  ## Write docs/results.md and its pictures from the runs in runs/.
	$(VENV)/bin/python recipes/results_page.py

benchmark: $(VENV)/demo  ## Count and measure what the models cost; writes benchmarks/results/.
	$(VENV)/bin/python benchmarks/cost.py

# Where Python comes without its venv module's pip (some Linux distributions), virtualenv does the same.
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV) && \
		$(PYTHON) -m pip install -q --target $(VENV)-tools virtualenv && \
		PYTHONPATH=$(VENV)-tools $(PYTHON) -m virtualenv -q $(VENV); }

$(VENV)/demo: $(VENV)/bin/pip pyproject.toml tests/constraints.txt
	$(VENV)/bin/pip install -q -c tests/constraints.txt -e .
	touch $@

$(VENV)/test: $(VENV)/demo
	$(VENV)/bin/pip install -q -c tests/constraints.txt -e .[dev]
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tools build dist *.egg-info
