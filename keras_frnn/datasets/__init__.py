"""Videos as batches of `(context, future)`, float32 in [-1, 1]: `tf.data.Dataset` or `keras.utils.PyDataset`."""

from keras_frnn.datasets.from_arrays import from_arrays
from keras_frnn.datasets.kth import kth, prepare_kth
from keras_frnn.datasets.mnist_5k import mnist_5k
from keras_frnn.datasets.moving_mnist import moving_mnist
from keras_frnn.datasets.moving_pictures import moving_pictures
from keras_frnn.datasets.ucf101 import prepare_ucf101, ucf101
from keras_frnn.datasets.video_folder import prepare_videos, video_folder

__all__ = [
    "from_arrays",
    "kth",
    "mnist_5k",
    "moving_mnist",
    "moving_pictures",
    "prepare_kth",
    "prepare_ucf101",
    "prepare_videos",
    "ucf101",
    "video_folder",
]
