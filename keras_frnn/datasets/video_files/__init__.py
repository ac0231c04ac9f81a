"""Video files to HDF5 stores: what `prepare_videos`, `prepare_kth` and `prepare_ucf101` share."""
