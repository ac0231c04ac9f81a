"""Presets on a server of this machine that speaks the protocol of the Hugging Face Hub."""

import json
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from clips import write_clip
from hub_server import TOKEN, serving
from huggingface_hub import constants

from keras_frnn import hub, models

CONTEXT = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8, 1)).astype("float32")
FILES = ("config.json", "metadata.json", "model.weights.h5")


def small():
    model = models.FoldedRNN.from_topology([("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)], horizon=2)
    model.build((None, 3, 8, 8, 1))
    return model


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def preset(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    model.save_to_preset(folder, {"about": "a test"})
    return folder


@pytest.fixture
def server(preset, tmp_path, monkeypatch):
    """The Hub with one network, and a cache that is empty."""
    with serving({"user/net": [files(preset) | {"pytorch_model.bin": b"a pickle"}]}) as server:
        # The variables HF_ENDPOINT, HF_HUB_CACHE and so on are read when huggingface_hub is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "tokens"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


class TestDownload:
    def test_three_files_once(self, server, model):
        for cls in (models.FoldedRNN, models.VideoPredictor):
            loaded = cls.from_preset("hf://user/net")
            assert type(loaded) is models.FoldedRNN
            np.testing.assert_allclose(loaded.forecast(CONTEXT), model.forecast(CONTEXT), rtol=0, atol=1e-6)
        got = [request.rpartition("/")[2] for request in server.requests if request.startswith("GET /user/net")]
        assert sorted(got) == ["config.json", "metadata.json"]
        assert sum(request.startswith("GET /objects/") for request in server.requests) == 1  # The weights.
        assert models.FoldedRNN.from_preset("hf://user/net", horizon=5).horizon == 5

    def test_newest_and_chosen_revision(self, server, preset):
        first = models.FoldedRNN.from_preset("hf://user/net")
        commit = server.commit("user/net", "main")[0]
        config = json.loads((preset / "config.json").read_text())
        config["config"]["horizon"] = 7
        server.repositories["user/net"].append(files(preset) | {"config.json": json.dumps(config).encode()})
        assert first.horizon == 2
        assert models.FoldedRNN.from_preset("hf://user/net").horizon == 7
        assert models.FoldedRNN.from_preset(f"hf://user/net@{commit}").horizon == 2

    def test_without_a_connection_the_cache_is_used(self, server, monkeypatch):
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # Between attempts.
        models.FoldedRNN.from_preset("hf://user/net")
        server.shutdown()
        server.server_close()
        assert models.FoldedRNN.from_preset("hf://user/net").horizon == 2
        with pytest.raises(OSError, match="hf://user/other cannot be downloaded: the Hub cannot be reached"):
            models.FoldedRNN.from_preset("hf://user/other")

    @pytest.mark.once
    def test_names(self, server):
        for name in ("hf://net", "hf://user/net/config.json", "hf://", "hf://user/net@", "hf:///etc/passwd"):
            with pytest.raises(ValueError, match=f"Expected a preset on the Hub, hf://user/name.*'{name}'"):
                models.FoldedRNN.from_preset(name)
        with pytest.raises(ValueError, match=r"hf://user/a\.\.b cannot be the name of a repository"):
            models.FoldedRNN.from_preset("hf://user/a..b")
        for name, message in [
            ("hf://user/nothing", "does not exist, or you have no access to it"),
            ("hf://gated/net", "or gated, log in with `hf auth login`"),
            ("hf://user/net@other", "has no such revision"),
        ]:
            with pytest.raises(ValueError, match=message):
                models.FoldedRNN.from_preset(name)
        with pytest.raises(ValueError, match=r"holds a FoldedRNN.*LadderRNN.from_preset. Call FoldedRNN.from_preset"):
            models.LadderRNN.from_preset("hf://user/net")

    @pytest.mark.once
    def test_without_huggingface_hub(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(ImportError, match=r"pip install keras-frnn\[hub\]"):
            models.FoldedRNN.from_preset("hf://user/net")

    @pytest.mark.once
    @pytest.mark.parametrize("name", FILES)
    def test_missing(self, server, preset, name):
        server.repositories["user/net"] = [{key: value for key, value in files(preset).items() if key != name}]
        with pytest.raises(ValueError, match=f"holds no network that `save_to_preset` wrote: it has no {name}"):
            models.FoldedRNN.from_preset("hf://user/net")

    @pytest.mark.once
    def test_of_another_library(self, server, preset):
        bert = {"config.json": b'{"model_type": "bert"}', "metadata.json": b"{}"}
        server.repositories["user/net"] = [files(preset) | bert]
        with pytest.raises(
            ValueError, match=r"hf://user/net is damaged: config.json or metadata.json was not written by"
        ):
            models.FoldedRNN.from_preset("hf://user/net")

    @pytest.mark.once
    @pytest.mark.parametrize("name", FILES)
    def test_damaged(self, server, preset, name):
        content = files(preset)[name]
        server.repositories["user/net"] = [files(preset) | {name: content[: len(content) // 2]}]
        with pytest.raises(ValueError, match=f"{name} in hf://user/net is damaged"):
            models.VideoPredictor.from_preset("hf://user/net")

    @pytest.mark.once
    @pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
    def test_ends_too_early(self, server, name, monkeypatch):
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # Between attempts.
        server.cut.add("weights" if name.endswith("h5") else name)
        with pytest.raises(OSError, match="hf://user/net cannot be downloaded: "):
            models.FoldedRNN.from_preset("hf://user/net")

    @pytest.mark.once
    @pytest.mark.parametrize(("name", "size"), [("config.json", 2**24 + 1), ("model.weights.h5", 2**30 + 1)])
    def test_too_large(self, server, name, size):
        server.claimed[name] = size
        with pytest.raises(ValueError, match=f"hf://user/net is not downloaded: {name} has {size:,} bytes"):
            models.FoldedRNN.from_preset("hf://user/net")

    @pytest.mark.once
    def test_malicious(self, server, preset, tmp_path):
        """The files of strangers are checked as those in a folder are, see test_strangers.py."""
        config = json.loads((preset / "config.json").read_text())
        code = {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}
        layers = {**config, "config": {**config["config"], "layers": [code]}}
        other = {**config, "module": "os", "class_name": "system", "registered_name": "keras_frnn>FrameCrossentropy"}
        with h5py.File(tmp_path / "weights.h5", "w") as weights:
            weights["layers"] = h5py.ExternalLink("/etc/passwd", "/")
        weights = (tmp_path / "weights.h5").read_bytes() + bytes(10_000)
        for changed, message in [
            ({"config.json": json.dumps(layers).encode()}, "os.system cannot be part of a network"),
            ({"config.json": json.dumps(other).encode()}, "holds a 'system', which is no network of keras_frnn.models"),
            ({"model.weights.h5": weights}, "'layers' is a link, which may lead to other files"),
        ]:
            server.repositories["user/net"] = [files(preset) | changed]
            with pytest.raises(ValueError, match=message):
                models.VideoPredictor.from_preset("hf://user/net")


# huggingface_hub uploads with an argument of httpx that is deprecated.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
class TestUpload:
    def test_there_and_back(self, server, preset, model, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        (preset / "notes.txt").write_text("not of the preset")
        models.upload_preset("hf://user/new", preset)
        uploaded = server.repositories["user/new"][-1]
        assert {name: uploaded[name] for name in FILES} == {name: (preset / name).read_bytes() for name in FILES}
        assert sorted(uploaded) == sorted([*FILES, "README.md"])
        card = uploaded["README.md"].decode()
        assert card.startswith("---\nlibrary_name: keras\n")
        assert 'models.FoldedRNN.from_preset("hf://user/new")' in card
        loaded = models.VideoPredictor.from_preset("hf://user/new")
        np.testing.assert_allclose(loaded.forecast(CONTEXT), model.forecast(CONTEXT), rtol=0, atol=1e-6)

    @pytest.mark.once
    def test_cards_are_kept(self, server, preset, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        server.repositories["user/net"] = [{"README.md": b"of the repository"}]
        models.upload_preset("hf://user/net", preset)
        assert server.repositories["user/net"][-1]["README.md"] == b"of the repository"
        small().save_to_preset(tmp_path / "mine")
        (tmp_path / "mine" / "README.md").write_text("of the folder")
        models.upload_preset("hf://user/net", tmp_path / "mine")
        assert server.repositories["user/net"][-1]["README.md"] == b"of the folder"

    @pytest.mark.once
    def test_errors(self, server, preset, tmp_path):
        with pytest.raises(OSError, match="hf://user/net cannot be uploaded: .*401.*Log in with `hf auth login`"):
            models.upload_preset("hf://user/net", preset)
        for uri, folder, message in [
            ("user/net", preset, "`uri` must be 'hf://user/name'.*uri='user/net'"),
            ("hf://net", preset, "Expected a preset on the Hub, hf://user/name"),
            ("hf://user/net@main", preset, "Omit @main"),
            ("hf://user/net", tmp_path / "nowhere", "must be a folder that `save_to_preset` wrote.*nowhere"),
            ("hf://user/net", tmp_path, "which is a folder without config.json and model.weights.h5"),
        ]:
            with pytest.raises(ValueError, match=message):
                models.upload_preset(uri, folder)
        damaged = tmp_path / "damaged"
        small().save_to_preset(damaged)
        (damaged / "model.weights.h5").write_bytes(b"nothing")
        with pytest.raises(ValueError, match="damaged"):
            models.upload_preset("hf://user/net", damaged)
        assert not [request for request in server.requests if "commit" in request or request.startswith("PUT")]


@pytest.mark.once
def test_command(server, tmp_path):
    """`--model=hf://user/net`, in a process that only knows the server from its environment."""
    write_clip(tmp_path / "clip.avi", size=(8, 8), frames=6)
    paths = os.pathsep.join([os.getcwd(), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}

    def run(*arguments):
        command = [sys.executable, "-m", "keras_frnn_command", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = run("predict", "clip.avi", "--model=hf://user/net", "--context=3", "--output=out.png")
    assert done.returncode == 0, done.stderr
    assert "3 given, 2 predicted, 2 of these beside the truth" in done.stdout
    assert (tmp_path / "out.png").is_file()
    refused = run("predict", "clip.avi", "--model=hf://user/nothing", "--output=other.png")
    assert refused.returncode == 1
    assert "keras-frnn predict: hf://user/nothing does not exist" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_name():
    assert hub.is_on_hub("hf://user/net")
    assert not hub.is_on_hub("moving-digits")
