#!/usr/bin/env bash
# Starts the program and compares its answers.
set -u
cd "$(dirname "$0")" || exit 1
port=$((20000 + $$ % 10000))
passed=0 failed=0

ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' "$1" >&3 && tail -n 1 <&3
}

check() {
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s: wanted "%s", got "%s"\n' "$1" "$2" "$3"
  fi
}

start() {
  PORT=$port CF_INSTANCE_INDEX=3 ./binary >/dev/null 2>&1 &
  program=$!
  until (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$program" 2>/dev/null || exit 1; done
}

start
check "front page" "binary sample, instance 3" "$(ask /)"
check "environment" "CF_INSTANCE_INDEX=3" "$(exec 3<>"/dev/tcp/127.0.0.1/$port"; printf 'GET /env HTTP/1.1\r\n\r\n' >&3; grep -a CF_INSTANCE_INDEX <&3)"
check "eat" "5 MiB eaten" "$(ask '/eat?mib=5')"
check "eat again" "7 MiB eaten" "$(ask '/eat?mib=2')"
check "exit" "exiting with 9" "$(ask '/exit?code=9')"
wait "$program"
check "exit status" 9 $?
start
kill -TERM "$program"
wait "$program"
check "exit status after SIGTERM" 0 $?
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
