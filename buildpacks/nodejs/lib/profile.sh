# shellcheck shell=sh
export NODE_ENV="${NODE_ENV:-production}"
export PATH="$PATH:$HOME/node_modules/.bin"
export npm_config_update_notifier=false

# Three quarters of the limit for the heap leave room for buffers, stacks and node itself.
case "${NODE_OPTIONS:-}" in
  *max-old-space-size* | *max_old_space_size*) ;;
  *)
    case "${MEMORY_LIMIT:-}" in
      *[0-9]m) heap_mib=$((${MEMORY_LIMIT%m} * 3 / 4)) ;;
      *[0-9]g) heap_mib=$((${MEMORY_LIMIT%g} * 768)) ;;
      *) heap_mib= ;;
    esac
    if [ -n "$heap_mib" ]; then
      export NODE_OPTIONS="${NODE_OPTIONS:+$NODE_OPTIONS }--max-old-space-size=$heap_mib"
      echo "node: heap limit $heap_mib MiB, 75 % of $MEMORY_LIMIT (--max-old-space-size in NODE_OPTIONS changes it)"
    fi
    unset heap_mib
    ;;
esac
