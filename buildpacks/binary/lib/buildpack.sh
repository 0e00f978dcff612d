# shellcheck shell=bash
# Shared by the built-in buildpacks. Every folder carries the same copy (tests/run compares them),
# so that each folder is a complete buildpack that can be zipped and used on its own.

topic() { printf -- '-----> %s\n' "$*"; }
note() { printf '%s\n' "$*" | sed 's/^/       /'; }

# The last lines a user sees: what went wrong, then what to do about it.
fail() {
  printf '       error: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '       hint: %s\n' "$2" >&2
  exit 1
}

# Runs a command with its output indented; the output stays in $run_log for the error message.
run() {
  run_log=$TMPDIR/run.log
  "$@" 2>&1 | tee "$run_log" | sed -u 's/^/       /'
}

# Temporary files belong beside the cache: /tmp may be a small tmpfs that counts as memory.
use_cache() {
  CACHE=$1
  export TMPDIR=$CACHE/tmp
  export XDG_CACHE_HOME=$CACHE/xdg XDG_CONFIG_HOME=$CACHE/xdg
  rm -rf "$TMPDIR"
  mkdir -p "$TMPDIR" "$XDG_CACHE_HOME"
  trap 'chmod -R u+w "$TMPDIR" "$XDG_CACHE_HOME"; rm -rf "$TMPDIR" "$XDG_CACHE_HOME"' EXIT
}

# Empties a cache folder that has outgrown its bound; the next run fills it again.
keep_under_mib() {
  local bound=$1 folder=$2
  [ -d "$folder" ] || return 0
  if [ "$(du -sm "$folder" | cut -f1)" -gt "$bound" ]; then
    note "Emptying the ${folder##*/} cache: it has more than $bound MiB"
    chmod -R u+w "$folder"
    rm -rf "$folder"
  fi
}

at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Names a set of inputs, the buildpack itself among them, so that a snapshot is used only for the same.
fingerprint() {
  { printf '%s\n' "$@"; cat "$(dirname "$0")"/* "$(dirname "$0")"/../lib/*.sh; } |
    sha256sum | cut -d ' ' -f 1
}

# One installed tree is kept per buildpack: a repeat push with the same lockfile only copies it.
restore_snapshot() {
  [ "$(cat "$CACHE/snapshot.key" 2>/dev/null)" = "$1" ] || return 1
  mkdir -p "$(dirname "$2")"
  cp -a --reflink=auto "$CACHE/snapshot" "$2"
}

save_snapshot() {
  rm -rf "$CACHE/snapshot.key" "$CACHE/snapshot"
  cp -a --reflink=auto "$2" "$CACHE/snapshot"
  printf '%s' "$1" >"$CACHE/snapshot.key"
}

write_config() {
  printf 'name: %s\nconfig: {}\n' "$2" >"$1/config.yml"
}

# Which version was chosen, and the variable by which a later build is told to take exactly that one.
write_runtime() {
  printf 'runtime: {name: %s, version: "%s", pin: %s}\n' "$2" "$3" "$4" >>"$1/config.yml"
}

# What earlier buildpacks supplied is visible to this one, as in Cloud Foundry.
use_supplied_deps() {
  local dep file
  for dep in "$1"/*/; do
    dep=${dep%/}
    [ ! -d "$dep/bin" ] || PATH=$dep/bin:$PATH
    [ ! -d "$dep/lib" ] || {
      export LD_LIBRARY_PATH=$dep/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
      export LIBRARY_PATH=$dep/lib${LIBRARY_PATH:+:$LIBRARY_PATH}
    }
    [ ! -d "$dep/include" ] || export CPATH=$dep/include${CPATH:+:$CPATH}
    [ ! -d "$dep/pkgconfig" ] || export PKG_CONFIG_PATH=$dep/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    for file in "$dep"/env/*; do
      [ ! -f "$file" ] || export "${file##*/}=$(cat "$file")"
    done
  done
  export PATH
}

# The final buildpack makes the same folders visible to the app and adds every profile.d script.
write_launch_environment() {
  local deps=$1 profile=$2 dep index script
  mkdir -p "$profile"
  {
    for dep in "$deps"/*/; do
      index=$(basename "$dep")
      [ ! -d "$dep/bin" ] || printf 'export PATH="%s"\n' "\$DEPS_DIR/$index/bin:\$PATH"
      [ ! -d "$dep/lib" ] ||
        printf 'export LD_LIBRARY_PATH="%s"\n' "\$DEPS_DIR/$index/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
    done
  } >"$profile/000_deps.sh"
  for script in "$deps"/*/profile.d/*; do
    [ -f "$script" ] || continue
    index=$(basename "$(dirname "$(dirname "$script")")")
    cp "$script" "$profile/${index}_$(basename "$script")"
  done
}
