# shellcheck shell=sh
# Lines must reach the log when they are printed, also those right before a crash.
export PYTHONUNBUFFERED=1
# Only the router talks to the app, so gunicorn and uvicorn may believe its X-Forwarded headers.
export FORWARDED_ALLOW_IPS="${FORWARDED_ALLOW_IPS:-*}"
