# What the steps share: where they are, what they say, and how they look at what is up.

say() { printf '\ntest-compose (%3d s): %s\n' "$SECONDS" "$*"; }
note() { printf '  %s\n' "$*"; }
fail() { say "FAILED in $title: $*"; exit 1; }

times=() title=set_up

# begin_step FILE [CHOSEN...]: say the title in its first line, unless it is not chosen
begin_step() {
  local name chosen
  name=$(basename "$1")
  if [ $# -gt 1 ]; then
    for chosen in 10 20 "${@:2}"; do [[ $name == "$chosen"* ]] && break; done
    [[ $name == "$chosen"* ]] || return 1
  fi
  title="${name%%-*} $(sed -n '2s/^# //p' "$1")"
  say "$title"
  begun=$SECONDS
}

end_step() { times+=("$(printf '%5d s  %s' $((SECONDS - begun)) "$title")"); }

set_up() {
  folder=$(mktemp -d)
  chmod 755 "$folder"  # the containers' user reads the runs in it
  export COMPOSE_PROJECT_NAME="neurogloss-test-$$" COMPOSE_PROFILES=cpu,rehearsal TAG=test
  export ENV_FILE="$folder/.env"
  compose=(docker compose --env-file "$ENV_FILE")
}

clean_up() {
  local code=$?
  if [ "${KEEP:-}" = 1 ]; then
    echo "left up: project $COMPOSE_PROJECT_NAME, settings in $ENV_FILE"
    return
  fi
  [ "$code" = 0 ] || "${compose[@]}" logs --tail 30 || true
  "${compose[@]}" down --volumes --remove-orphans >/dev/null 2>&1 || true
  rm -rf "$folder"
}

# A command in a container of its own, as deploy/README.md has it.
neurogloss() { "${compose[@]}" run --rm --no-deps -T orchestrator neurogloss "$@"; }

containers() { "${compose[@]}" ps -q "$1"; }
n_running() { containers "$1" | wc -l; }
inspect() { docker inspect --format "{{$2}}" "$1"; }

sql() {
  docker exec "$(containers postgres)" psql -U neurogloss -d neurogloss -qAtc "$1"
}

# within SECONDS COMMAND...: until it succeeds
within() {
  local deadline=$((SECONDS + $1 * ${SLOWER:-1}))
  shift
  until "$@" 2>/dev/null; do
    ((SECONDS < deadline)) || fail "not in time: $*"
    sleep 0.5
  done
}

holds() { [ "$(sql "$1")" = t ]; }
run_is() { [ "$(sql "SELECT state FROM run WHERE name = '$1'")" = "$2" ]; }
is_healthy() { [ "$(inspect "$1" .State.Health.Status)" = healthy ]; }

wait_healthy() {
  local container
  for container in $(containers "$1"); do within 150 is_healthy "$container"; done
}

# How many neurons a minute all stages with calls bring on, as `run_progress` says it now.
rate_of() {
  sql "SELECT round(coalesce(sum(per_minute), 0)) FROM run_progress
       WHERE run = '$1' AND stage IN ('explain', 'simulate')"
}
