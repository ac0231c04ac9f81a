"""From video files to HDF5 stores: the code shared by `prepare_videos`, `prepare_kth` and `prepare_ucf101`."""
