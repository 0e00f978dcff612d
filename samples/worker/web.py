"""The web process: tells which process it is; the work is done by the other one."""

import os
import signal
import sys

from waitress import serve


def application(environ, start_response):
    instance = os.environ.get("CF_INSTANCE_INDEX", "0")
    body = f"worker sample, web instance {instance}; the worker process ticks in the logs\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def main():
    port = int(os.environ.get("PORT", "8080"))
    # waitress finishes its open requests when it is left by SystemExit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"worker sample: web listens on {port}", flush=True)
    serve(application, host="0.0.0.0", port=port, threads=4)


if __name__ == "__main__":
    main()
