"""
A recipe over many values of its keys, by any number of workers on one storage.

`space` and `outcome` are plain data; `trial` trains and measures one recipe; `study`, `sampler` and `worker` are the
importers of Optuna.
"""
