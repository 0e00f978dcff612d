# shellcheck shell=bash
# Gets tools that the stack lacks from the registries it already trusts: the distribution's own
# packages, and PyPI. No host is named here; apt and pip bring or are given their addresses.
# The same copy lies in every buildpack that needs it (tests/run compares them).

apt_options() {
  local state=$TMPDIR/apt
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  apt_args=(
    -q -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o Dir::State::status=/dev/null
    -o "Dir::Cache=$state" -o "Dir::Cache::archives=$state/archives" -o Dir::Log="$state"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::GzipIndexes=true
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::Retries=4
  )
}

# Names what a package needs, as far as it matches a pattern; essential packages are in every stack.
apt_closure() {
  local pattern=$1
  shift
  apt-cache "${apt_args[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances "$@" 2>/dev/null |
    grep -E '^[a-z]' | grep -E "$pattern" | grep -vE '^(libc6|libgcc-s1|libperl.*)$' | sort -u
}

# Unpacks packages of the stack's own distribution into a folder: signatures are checked by apt,
# no root is needed, nothing is installed or configured. Downloads are kept for a day, so that
# security updates arrive with the next push after that; without network the older ones serve.
apt_unpack() {
  local into=$1 pattern=$2 debs=$CACHE/debs/$3 deb
  shift 2
  if [ -z "$(find "$debs" -name '*.deb' -mmin -1440 2>/dev/null)" ]; then
    if ! apt_download "$debs" "$pattern" "$@"; then
      [ -d "$debs" ] || return 1
      note "The packages of an earlier push are used"
    fi
  fi
  mkdir -p "$into"
  for deb in "$debs"/*.deb; do
    dpkg-deb -x "$deb" "$into"
  done
}

apt_download() {
  local debs=$1 pattern=$2 names
  shift 2
  if ! command -v apt-get >/dev/null || [ ! -d /etc/apt ]; then return 1; fi
  apt_options
  rm -rf "$debs.new"
  mkdir -p "$debs.new"
  # A broken third-party source makes update fail, although the distribution's own lists are there.
  [ -n "${apt_is_current:-}" ] || apt-get "${apt_args[@]}" update >"$TMPDIR/apt.log" 2>&1 || true
  apt_is_current=yes
  mapfile -t names < <(printf '%s\n' "$@"; [ -z "$pattern" ] || apt_closure "$pattern" "$@")
  if ! (cd "$debs.new" && apt-get "${apt_args[@]}" download "${names[@]}") >>"$TMPDIR/apt.log" 2>&1; then
    note "apt: $(grep -m 1 -E '^(W: Failed|E:)' "$TMPDIR/apt.log" || tail -n 1 "$TMPDIR/apt.log")"
    rm -rf "$debs.new"
    return 1
  fi
  touch "$debs.new"/*.deb
  rm -rf "$debs"
  mv "$debs.new" "$debs"
}

# A python that is not cut down: python3-minimal lacks most of the standard library.
python_is_whole() {
  "$1" -c 'import asyncio, ctypes, hashlib, sqlite3, ssl, venv, zipfile' 2>/dev/null
}

# Sets python_tool to some whole Python 3, from the stack or from the distribution's packages.
ensure_python() {
  python_tool=$(command -v python3) && python_is_whole "$python_tool" && return 0
  unpack_distribution_python "$CACHE/python" python3 || return 1
  python_tool=$unpacked_python
}

# Sets unpacked_python. The interpreter finds its library relative to itself, so any folder will do.
unpack_distribution_python() {
  local into=$1 package=$2 library
  rm -rf "$into"
  if [ "$package" = python3 ]; then
    apt_unpack "$into" '^(lib|python3)' python3-minimal libpython3-stdlib || return 1
  else
    apt_unpack "$into" '^(lib|python3)' "$package" || return 1
  fi
  unpacked_python=$(find "$into/usr/bin" -name 'python3.*[0-9]' | head -n 1)
  [ -n "$unpacked_python" ] || return 1
  for library in "$into"/usr/lib/*-linux-gnu*; do
    export LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done
  python_is_whole "$unpacked_python"
}

# Sets pip_home to a folder with pip in it, usable by any interpreter through PYTHONPATH.
# Debian's python3 comes without pip, and its ensurepip only with python3-venv.
ensure_pip() {
  local python=$1 wheel
  export PIP_CACHE_DIR=$CACHE/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
  pip_home=$TMPDIR/pip-home
  mkdir -p "$TMPDIR/wheel"
  wheel=$(find /usr/share/python-wheels "$("$python" -c 'import sys; print(sys.prefix)')"/lib*/python3*/ensurepip/_bundled \
    -name 'pip-*.whl' 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$wheel" ] && python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip download -q --no-deps -d "$TMPDIR/wheel" pip >&2 || return 1
    wheel=$(find "$TMPDIR/wheel" -name 'pip-*.whl')
  fi
  if [ -z "$wheel" ] && apt_unpack "$TMPDIR/wheel" '' python3-pip-whl; then
    wheel=$(find "$TMPDIR/wheel" -name 'pip-*.whl')
  fi
  [ -n "$wheel" ] || return 1
  "$python" -m zipfile -e "$wheel" "$pip_home"
}

# Unpacks a wheel that ships a tool; wheels run no code when they are installed.
pip_unpack() {
  local into=$1
  shift
  ensure_python && ensure_pip "$python_tool" || return 1
  rm -rf "$into"
  PYTHONPATH=$pip_home run "$python_tool" -m pip install -q --no-deps --only-binary :all: \
    --no-compile --target "$into" "$@"
}
