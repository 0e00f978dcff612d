# shellcheck shell=sh
export PATH="$HOME/bin:$PATH"

# The collector works harder before the limit is reached, rather than the kernel killing the app at it.
if [ -z "${GOMEMLIMIT:-}" ]; then
  case "${MEMORY_LIMIT:-}" in
    *[0-9]m) export GOMEMLIMIT="$((${MEMORY_LIMIT%m} * 9 / 10))MiB" ;;
    *[0-9]g) export GOMEMLIMIT="$((${MEMORY_LIMIT%g} * 922))MiB" ;;
  esac
fi

# Go before 1.25 does not see a CPU quota and starts a thread for every core of the machine.
if [ -z "${GOMAXPROCS:-}" ]; then
  quota="" period=""
  if [ -r /sys/fs/cgroup/cpu.max ]; then
    read -r quota period </sys/fs/cgroup/cpu.max
  elif [ -r /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
    read -r quota </sys/fs/cgroup/cpu/cpu.cfs_quota_us
    read -r period </sys/fs/cgroup/cpu/cpu.cfs_period_us
  fi
  case "$quota" in
    "" | max | -*) ;;
    *) export GOMAXPROCS="$(((quota + period - 1) / period))" ;;
  esac
  unset quota period
fi
[ -z "${GOMEMLIMIT:-}" ] || echo "go: GOMEMLIMIT=$GOMEMLIMIT${GOMAXPROCS:+ GOMAXPROCS=$GOMAXPROCS}"
