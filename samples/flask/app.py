"""A small Flask app for trying the platform."""

import os
import time

from flask import Flask, Response, jsonify, request

SECONDS_MAX = 600

app = Flask(__name__)


@app.get("/")
def front_page():
    instance = os.environ.get("CF_INSTANCE_INDEX", "0")
    return Response(f"flask sample, instance {instance}\n", mimetype="text/plain")


@app.get("/env")
def environment():
    return jsonify(dict(os.environ))


@app.get("/slow")
def slow():
    wait = min(request.args.get("ms", 1000, type=int) / 1000, SECONDS_MAX)
    time.sleep(wait)
    return Response(f"waited {wait * 1000:.0f} ms\n", mimetype="text/plain")


@app.get("/scheme")
def scheme():
    """What the app believes about the client, told by the router's headers."""
    return jsonify(scheme=request.scheme, host=request.host)
