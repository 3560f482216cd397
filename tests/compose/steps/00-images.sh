#!/usr/bin/env bash
# Images: built, each with no more than it needs, none as root
build() {
  docker build --quiet --network host -f deploy/Dockerfile --target "$1" \
    --build-arg PYTHON="${PYTHON:-python:3.11-slim}" --build-arg TORCH="${TORCH:-torch==2.13.0}" \
    --build-arg COMMIT="$2" -t "neurogloss-$1:$3" . >/dev/null
}
megabytes() { echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)); }

base=$(megabytes "${PYTHON:-python:3.11-slim}")
for image in api orchestrator gpu; do
  build "$image" one test
  size=$(megabytes "neurogloss-$image:test")
  note "neurogloss-$image: $size MB, of which the base has $base MB"
  docker run --rm "neurogloss-$image:test" neurogloss --version | grep -q 'commit one' ||
    fail "$image does not say its commit"
  [ "$(docker run --rm "neurogloss-$image:test" id -u)" = 10001 ] || fail "$image: which user?"
  [ "$image" != api ] || ((size - base < 260)) || fail "the api image is too large"
done
docker run --rm neurogloss-gpu:test neurogloss --version | grep -E 'CUDA' || fail "which CUDA?"
for package in torch huggingface_hub tokenizers datasets matplotlib fastapi; do
  ! docker run --rm neurogloss-api:test python -c "import $package" 2>/dev/null ||
    fail "the api image contains $package"
done
