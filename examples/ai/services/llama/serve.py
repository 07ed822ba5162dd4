"""Serves the model with OpenAI's API until it is told to stop."""

import os
import signal
import sys

import xllamacpp

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

parameters = xllamacpp.CommonParams()
parameters.model.path = "model/model.gguf"
parameters.hostnames = ["0.0.0.0"]  # noqa: S104  the container's own network
parameters.port = int(os.environ["PORT"])
parameters.n_ctx = 4096
parameters.n_parallel = 1
parameters.cpuparams.n_threads = 1  # as `cpus` in service.toml: more would wait for each other

server = xllamacpp.Server(parameters)
print(f"serving at {server.listening_address}", flush=True)
while True:
    signal.pause()
