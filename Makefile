# `make demo` and `make test` need Python 3.11 or newer with pip, and make. Everything else they install into .venv.
PYTHON ?= python3
VENV := .venv
BACKENDS := tensorflow jax torch

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-torch test-extras test-tfio test-keras-lowest test-keras-newest lint package docs notebooks \
	results benchmark gpu clean

demo: $(VENV)/demo  ## Forecast moving digits with the network in the package; train a small one; compare them.
	@mkdir -p build
	$(VENV)/bin/python recipes/demo.py 2> build/demo.log || { cat build/demo.log; exit 1; }  # Libraries print messages there.

# Tests that run no Keras are marked `once`, and run on the first backend only.
test: $(VENV)/test  ## Run all tests on all three backends.
	@selected="not slow"; for backend in $(BACKENDS); do \
		echo "== KERAS_BACKEND=$$backend"; \
		KERAS_BACKEND=$$backend $(VENV)/bin/python -m pytest -q -m "$$selected" -n 2 --dist=worksteal --durations=10 \
			|| exit 1; \
		selected="not slow and not once"; \
	done

# Not compiling what is installed saves half of the time.
test-torch: $(VENV)-torch/bin/pip  ## Test data and a recipe in an environment of Keras and Torch, without TensorFlow.
	$(VENV)-torch/bin/pip install -q --no-compile -c tests/constraints.txt \
		keras torch numpy h5py opencv-python-headless av matplotlib pillow absl-py pytest
	$(VENV)-torch/bin/pip install -q --no-deps -e .
	! $(VENV)-torch/bin/python -c "import tensorflow" 2> /dev/null
	KERAS_BACKEND=torch $(VENV)-torch/bin/python -m pytest -q tests/datasets --ignore=tests/datasets/test_preparation.py
	rm -rf $(VENV)-torch/run
	KERAS_BACKEND=torch $(VENV)-torch/bin/python recipes/mmnist_frnn.py --preset=quick --output=$(VENV)-torch/run \
		--iterations=3 --batch_size=2 --test_sequences=4 --samples=1

test-extras: test-torch  ## Test, in the same environment, what comes with the extras `app` and `export`.
	$(VENV)-torch/bin/pip install -q --no-compile "gradio>=5.15" playwright onnx onnxruntime onnxscript openvino scipy
	KERAS_BACKEND=torch $(VENV)-torch/bin/python -m pytest -q -rs -o filterwarnings= tests/test_app.py tests/models/test_export.py

test-tfio: $(VENV)-tfio/bin/pip  ## Test the reader of the extra `tfio` in an environment with TensorFlow 2.16.
	$(VENV)-tfio/bin/pip install -q -e .[tfio] pytest==9.2.0 keras==3.15.1
	KERAS_BACKEND=tensorflow $(VENV)-tfio/bin/python -m pytest -q -o filterwarnings= tests/tfio_reader.py

# Keras alone is of another version: the rest of .venv is as it is.
LOWEST_KERAS := $(shell sed -n 's/.*"keras>=\([0-9.]*\)".*/\1/p' pyproject.toml)
test-keras-lowest: KERAS := keras==$(LOWEST_KERAS).*
test-keras-newest: KERAS := keras
test-keras-lowest test-keras-newest: test-keras-%: $(VENV)/test  ## Compare networks with the authors' under another Keras.
	rm -rf build/keras-$*
	$(VENV)/bin/pip install -q --no-deps --target build/keras-$* "$(KERAS)"
	export PYTHONPATH=build/keras-$* KERAS_BACKEND=torch && \
		$(VENV)/bin/python -c "import keras; print('Keras', keras.__version__, 'in', keras.__path__[0])" && \
		$(VENV)/bin/python -m pytest -q -o filterwarnings= tests/models/test_golden.py

lint: $(VENV)/test  ## Check style and types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

package: $(VENV)/test  ## Build sdist and wheel, install the wheel into an empty environment and import it.
	rm -rf dist build
	$(VENV)/bin/python -m build --outdir dist .
	rm -rf build/wheel-check
	$(VENV)/bin/python -m venv build/wheel-check
	build/wheel-check/bin/pip install -q -c tests/constraints.txt dist/*.whl
	cd build && wheel-check/bin/python -c "import keras_frnn; from keras_frnn import datasets, evaluation, layers, models; \
		context, _ = next(iter(datasets.moving_mnist('test', 'mnist-5k', size=32, batch_size=1))); \
		print(keras_frnn.__version__, models.FoldedRNN.from_preset('moving-digits').forecast(context).shape)"

docs: $(VENV)/docs  ## Write the site to build/site; a warning is an error.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

notebooks: $(VENV)/docs  ## Execute the notebooks and write them back; minutes.
	KERAS_BACKEND=tensorflow $(VENV)/bin/python notebooks/execute.py

results: $(VENV)/demo  ## Write docs/results.md and its pictures from the runs in runs/.
	$(VENV)/bin/python docs/results_page.py

benchmark: $(VENV)/demo  ## Measure the cost of the models and the data-loading throughput; writes benchmarks/results/.
	$(VENV)/bin/python benchmarks/cost.py
	$(VENV)/bin/python benchmarks/pipeline.py
	$(VENV)/bin/python benchmarks/speed.py
	$(VENV)/bin/python benchmarks/scaling.py

gpu: $(VENV)-gpu/bin/pip  ## Test and measure on this machine's NVIDIA GPU, with Torch and JAX; see docs/gpu.md.
	$(VENV)-gpu/bin/pip install -q -c tests/constraints.txt \
		keras torch "jax[cuda12]" numpy h5py opencv-python-headless av matplotlib pillow absl-py pytest
	$(VENV)-gpu/bin/pip install -q --no-deps -e .
	for backend in torch jax; do \
		KERAS_BACKEND=$$backend $(VENV)-gpu/bin/python -m pytest -q -m accelerator tests/test_accelerator.py && \
		KERAS_BACKEND=$$backend $(VENV)-gpu/bin/python benchmarks/gpu.py || exit 1; \
	done

# Where Python comes without its venv module's pip (some Linux distributions), virtualenv does the same.
$(VENV)/bin/pip $(VENV)-tfio/bin/pip $(VENV)-torch/bin/pip $(VENV)-gpu/bin/pip: %/bin/pip:
	$(PYTHON) -m venv $* || { \
		rm -rf $* && \
		$(PYTHON) -m pip install -q --target $(VENV)-tools virtualenv && \
		PYTHONPATH=$(VENV)-tools $(PYTHON) -m virtualenv -q $*; }

$(VENV)/demo: $(VENV)/bin/pip pyproject.toml tests/constraints.txt
	$(VENV)/bin/pip install -q -c tests/constraints.txt -e .
	touch $@

$(VENV)/test: $(VENV)/demo
	$(VENV)/bin/pip install -q -c tests/constraints.txt -e .[dev]
	touch $@

$(VENV)/docs: $(VENV)/demo
	$(VENV)/bin/pip install -q -c tests/constraints.txt -e .[docs]
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tfio $(VENV)-torch $(VENV)-gpu $(VENV)-tools build dist *.egg-info
