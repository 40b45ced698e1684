"""moto (STS, SQS, S3, DynamoDB, ...) on 127.0.0.1, one request at a time.

    moto_serial.py PORT [--stop-with-stdin]

Stock moto is not atomic: concurrent conditional writes overwrite each other, and a failed transaction restores a copy
of the whole table. A test of conditional writes would find moto's faults instead of ours, so one lock serves all
requests. An SQS long poll holds that lock: use WaitTimeSeconds=0.
"""

import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()


def serial(environ, start_response):
    with lock:
        return list(app(environ, start_response))


def stop_with_stdin():
    """A test that is killed outright can stop nothing, but its end of the pipe closes."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


if "--stop-with-stdin" in sys.argv[2:]:
    threading.Thread(target=stop_with_stdin, daemon=True).start()
run_simple("127.0.0.1", int(sys.argv[1]), serial, threaded=True)
