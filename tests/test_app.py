"""The web page: its computations, its requests if Gradio is installed, and clicks if there is a browser, too."""

import base64
import io
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from clips import write_clip
from PIL import Image

from keras_frnn import evaluation
from keras_frnn.command import app, networks, video_source
from keras_frnn.evaluation.animation import mp4_writer
from keras_frnn.models.frames import from_uint8

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def network():
    return networks.load_model("moving-digits")


def frames_of(html: str) -> int:
    with Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]*)', html)[1]))) as gif:
        return gif.n_frames


def test_picture_and_scores(network):
    clip = app.sample_digits()[1]
    frames = from_uint8(np.stack([video_source.resize(frame, (32, 32, 1)) for frame in clip]))
    assert frames.shape == (50, 32, 32, 1)
    picture, scores = app.picture_and_scores(network, frames, 3)
    assert frames_of(picture) == 13
    expected = evaluation.evaluate({"prediction": network}, [(frames[None, :10], frames[None, 10:13])])
    assert scores == expected.markdown()
    # The truth of two of the four predicted frames is known.
    picture, scores = app.picture_and_scores(network, frames[:12], 4)
    assert frames_of(picture) == 14
    assert "+2" in scores
    assert "+3" not in scores
    assert "no truth to score" in app.picture_and_scores(network, frames[:10], 2)[1]


def test_sample_pictures_are_in_color_and_move():
    clips = app.sample_pictures()
    assert clips.shape == (3, 50, 64, 64, 3)
    assert (np.ptp(clips.astype("int"), axis=-1).mean((1, 2, 3)) > 3).any()
    assert (np.abs(clips[:, 9].astype("int") - clips[:, 19]).mean((1, 2, 3)) > 5).all()


def test_without_gradio(network, monkeypatch, capsys):
    import keras_frnn_command

    monkeypatch.setitem(sys.modules, "gradio", None)
    assert keras_frnn_command.main(["app"]) == 1
    assert "pip install keras-frnn[app]" in capsys.readouterr().err


def _heed_interrupts():
    """Background processes of a shell, and their children, ignore interrupts otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The port of a page in its own process, so that Gradio's sockets and threads do not disturb other tests."""
    pytest.importorskip("gradio", reason="needs the extra `app`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_frnn_command", "app", f"--port={port}"]
    log = tmp_path_factory.mktemp("page") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, preexec_fn=_heed_interrupts)
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    # Errors of users are shown on the page and leave no traceback.
    assert "Traceback" not in log.read_text()


UPLOAD = {"path": __file__, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    "inputs",
    [
        [None, None, 3, 1],  # No clip.
        *([sample, None, 3, 1] for sample in ("digits 9", {"a": 1}, ["digits 1"], 5)),
        *([None, upload, 3, 1] for upload in ({"a": 1}, [], __file__, UPLOAD, {**UPLOAD, "path": "/nowhere"})),
        *(["digits 1", None, horizon, 1] for horizon in (0, -3, 1e9, math.inf, math.nan, None, "ten", [3])),
        *(["digits 1", None, 3, layers] for layers in (0, 99, math.inf, math.nan, None, {})),
        ["digits 1"],
        [],
    ],
)
def test_requests_that_make_no_sense(page, inputs):
    address = f"http://127.0.0.1:{page}/gradio_api/call/predict"
    body, header = json.dumps({"data": inputs}).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, body, header), timeout=60) as response:
        number = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{address}/{number}", timeout=60) as response:
        answer = response.read().decode()
    assert answer.startswith("event: error")
    assert "Expected a clip from the list or a video, 1 to 40 frames to predict, and 1 to 4 layers. Rec" in answer


@pytest.fixture
def tab():
    """A tab of a browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as play:
        tab = play.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        tab.set_default_timeout(60_000)
        yield tab


def test_mp4_plays_in_a_browser(tab, tmp_path):
    colors = [(0, 0, 255), (0, 255, 0), (255, 176, 0)]
    pages = np.broadcast_to(np.array(colors, "uint8")[:, None, None], (3, 45, 35, 3))
    with mp4_writer(tmp_path / "colors.mp4", 4) as write:
        for picture in pages:
            write(picture)
    (tmp_path / "page.html").write_text("<video src=colors.mp4 muted></video>")
    tab.goto((tmp_path / "page.html").as_uri())
    video = tab.locator("video")
    told = video.evaluate("""
        async video => {
            const ended = new Promise(resolve => { video.onended = resolve; });
            await video.play();
            await ended;
            return [video.error, video.videoWidth, video.videoHeight, video.currentTime];
        }
    """)
    assert told == [None, 36, 46, 0.75]
    with Image.open(io.BytesIO(video.screenshot())) as shown:
        np.testing.assert_allclose(np.asarray(shown.convert("RGB"))[10:30, 10:30].mean((0, 1)), colors[-1], atol=4)


def test_clicking_through(page, tab, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=60_000)
    clip = write_clip(tmp_path / "clip.avi", frames=12)
    for *_, (address, _) in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM):
        if not address.startswith("127."):  # No other machine reaches it.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, page), timeout=5)
    (tmp_path / "bad.avi").write_bytes(b"no video")
    pictures = os.environ.get("APP_PICTURES")
    tab.goto(f"http://127.0.0.1:{page}")
    image = tab.locator("#forecast")

    def predict(changed_from=None) -> str:
        tab.get_by_role("button", name="Predict").click()
        tab.wait_for_function(
            "old => { const i = document.querySelector('#forecast'); return i && i.src !== old }", arg=changed_from
        )
        return image.get_attribute("src")

    def upload(path):
        tab.locator("input[type=file]").set_input_files(path)
        # The name is shown before the upload has ended; the sample is unchecked after it.
        playwright.expect(tab.locator("input[type=radio]:checked")).to_have_count(0)

    whole = predict()  # Of moving pictures.
    assert frames_of(f'"{whole}"') == 20
    assert "copy_last_frame" in tab.content()
    if pictures:
        tab.screenshot(path=f"{pictures}/whole.png", full_page=True)
    tab.get_by_label("digits 2").check()
    tab.get_by_label("number input for Frames to predict").fill("30")
    tab.keyboard.press("Tab")
    longer = predict(whole)
    assert frames_of(f'"{longer}"') == 40
    tab.get_by_label("number input for Recurrent layers kept").fill("1")
    tab.keyboard.press("Tab")
    cut = predict(longer)
    assert frames_of(f'"{cut}"') == 40
    own = cut
    # The content of a file counts: few systems know these suffixes of phones and cameras as videos.
    for name in ("phone.3gp", "00001.MTS", "nameless"):
        upload(shutil.copy(clip, tmp_path / name))
        own = predict(own)
        assert "+2" in tab.content()
        if pictures:
            tab.screenshot(path=f"{pictures}/own.png", full_page=True)
        assert frames_of(f'"{own}"') == 40
        tab.get_by_label("Remove").or_(tab.get_by_label("Clear")).first.click()
        playwright.expect(tab.get_by_label("pictures 1")).to_be_checked()
        own = predict(own)
    upload(tmp_path / "bad.avi")
    tab.get_by_role("button", name="Predict").click()
    tab.get_by_text("no video that FFmpeg knows").first.wait_for()
    tab.get_by_label("digits 3").check()
    assert frames_of(f'"{predict(own)}"') == 40
