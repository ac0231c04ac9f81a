"""tensorflow-io reads what h5py reads. For an environment of its own, with TensorFlow 2.16: `make test-tfio`."""

import h5py
import numpy as np
import pytest
from clips import write_kth

from keras_frnn import datasets


def equal(one, other):
    batches = list(zip(one.take(6), other.take(6), strict=True))
    assert batches
    for (context, future), (its_context, its_future) in batches:
        np.testing.assert_array_equal(context, its_context)
        np.testing.assert_array_equal(future, its_future)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("frame_step", [1, 2])
@pytest.mark.parametrize("shape", [(32, 24, 3), (32, 24, 1), (32, 24)])
def test_same_windows_as_the_default_reader(tmp_path, split, frame_step, shape):
    generator = np.random.default_rng(0)
    with h5py.File(tmp_path / f"{split}.hdf5", "w") as file:
        for i in range(12):
            file[str(i)] = generator.integers(0, 256, (43 + i, *shape), dtype="uint8")
    options = dict(frame_step=frame_step, crop=(20, 24), batch_size=7, seed=1)
    equal(*(datasets.video_folder(tmp_path, split, reader=reader, **options) for reader in ("h5py", "tfio")))


def test_prepared_videos(tmp_path):
    datasets.prepare_kth(write_kth(tmp_path / "videos"), tmp_path, progress=False)
    for split in ("train", "test"):
        equal(*(datasets.kth(tmp_path, split, reader=reader) for reader in ("h5py", "tfio")))
