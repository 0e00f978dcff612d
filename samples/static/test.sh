#!/usr/bin/env bash
# Every file that the Staticfile and the pages name is there.
set -u
cd "$(dirname "$0")" || exit 1
root=$(sed -n 's/^root: *//p' Staticfile)
passed=0 failed=0

check() {
  if [ -e "$2" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s: %s is not there\n' "$1" "$2"
  fi
}

check "root" "$root/index.html"
while read -r page; do check "status code" "$root$page"; done < <(sed -n 's/^  [0-9]*: *//p' Staticfile)
while read -r link; do check "link" "$root$link"; done < <(grep -ohE '(href|src)="/[^"]*"' "$root"/*.html | cut -d '"' -f 2)
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
