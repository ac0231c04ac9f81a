"""Per-frame image quality as functions and as Keras metrics."""

from keras_frnn.metrics.frame_metrics import DSSIM, MSE, PSNR
from keras_frnn.metrics.image_quality import dssim, mse, psnr

__all__ = ["DSSIM", "MSE", "PSNR", "dssim", "mse", "psnr"]
