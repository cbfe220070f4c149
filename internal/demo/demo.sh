#!/usr/bin/env bash
# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
#
# The main job, for real, on loopback: build an environment and a model, push
# them, install, serve, chat. Everything lies in ./demo; KEEP=1 leaves the
# server running. Each step prints the command as a user would type it. A Mac's
# own bash is version 3.2, so there is nothing newer in here.
set -euo pipefail
cd "$(dirname "$0")/../.."

demo=$PWD/demo
platform=$(go env GOOS)/$(go env GOARCH)
python_tar=cpython-3.12.3-${platform/\//-}.tar
export PATH=$PWD/bin:$PATH
export METALRUN_HOME=$demo/home MODELS_PATH=$demo/models DOCKER_CONFIG=$demo/docker
mkdir -p "$demo/inputs" "$demo/docker" "$demo/log"

registry_pid='' serve_pid=''
stop() { # stop PID: ends a process that this script started, and waits for it
  [ -n "$1" ] && kill "$1" 2>/dev/null && wait "$1" 2>/dev/null || true
}
finish() {
  stop "$serve_pid"
  stop "$registry_pid"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
TIMEFORMAT='  [%1R s]'
run() { # run COMMAND…: show it, run it, say how long it took
  printf '$ %s\n' "${*//$demo/./demo}"
  time "$@"
}
wait_line() { # wait_line FILE PATTERN PID: until PATTERN is in FILE or PID ends
  until grep -q "$2" "$1"; do
    kill -0 "$3" 2>/dev/null || { cat "${1%.out}.log" >&2; exit 1; }
    sleep 0.1
  done
}

step "the interpreter (CPython 3.12.3 by way of a Go module) and a tiny model with random weights"
[ -s "$demo/inputs/$python_tar" ] || run go run ./internal/devtool interpreter -platform "$platform" -o "$demo/inputs/$python_tar"
[ -s "$demo/tiny/model.safetensors" ] || run go run ./internal/devtool tinymodel -o "$demo/tiny"

step "a registry on loopback"
# The same port as last time if it is free, so that names stay as they were.
registry=$(cat "$demo/registry.addr" 2>/dev/null || echo 127.0.0.1:0)
(exec 3<>"/dev/tcp/${registry%:*}/${registry#*:}") 2>/dev/null && registry=127.0.0.1:0
printf '$ metalpack registry serve --addr %s --dir ./demo/registry &\n' "$registry"
metalpack registry serve --addr "$registry" --dir "$demo/registry" >"$demo/log/registry.out" 2>"$demo/log/registry.log" &
registry_pid=$!
wait_line "$demo/log/registry.out" '^http://' "$registry_pid"
registry=$(sed 's,^http://,,' "$demo/log/registry.out")
echo "$registry" >"$demo/registry.addr"

step "the environment: 38 wheels of the lock and the interpreter become an OCI artifact"
run metalpack build internal/demo/recipe --platform "$platform" --find-links "$demo/inputs" -o "oci:$demo/out:latest"
run metalpack push "oci:$demo/out:latest" "$registry/metalpack/mlx-lm:latest"
run metalpack inspect "$registry/metalpack/mlx-lm:latest"

step "the model: safetensors become an OCI artifact"
run metalpack model build "$demo/tiny" -o "docker://$registry/ai/tiny:latest"

step "on the user's machine: install, verify"
run metalrun install "$registry/metalpack/mlx-lm:latest"
run metalrun verify
run metalrun versions

step "the model goes to the shared store"
run metalrun pull "$registry/ai/tiny:latest"
run metalrun list

step "serve and chat (random weights: the answer is nonsense, but a real engine wrote it)"
printf '$ metalrun serve --addr 127.0.0.1:0 &\n'
metalrun serve --addr 127.0.0.1:0 >"$demo/log/serve.out" 2>"$demo/log/serve.log" &
serve_pid=$!
wait_line "$demo/log/serve.out" '^http://' "$serve_pid"
endpoint=$(head -1 "$demo/log/serve.out")
chat() { # chat STREAM
  run python3 - "$endpoint" "$registry/ai/tiny:latest" "$1" <<'PY'
import json, sys, urllib.request
endpoint, model, stream = sys.argv[1], sys.argv[2], sys.argv[3] == "stream"
body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16, "stream": stream}
print("  POST", endpoint + "/v1/chat/completions", json.dumps(body))
req = urllib.request.Request(endpoint + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(req, timeout=300) as res:
    if not stream:
        answer = json.load(res)
        print("  answer:", repr(answer["choices"][0]["message"]["content"]), answer["usage"])
        sys.exit()
    chunks = [line[6:].strip() for line in res if line.startswith(b"data: ")]
assert chunks[-1] == b"[DONE]", chunks[-1:]
text = "".join(json.loads(c)["choices"][0]["delta"].get("content") or "" for c in chunks[:-1] if json.loads(c)["choices"])
print(f"  streamed {len(chunks) - 1} chunks:", repr(text))
PY
}
chat whole
chat stream
run metalrun run "$registry/ai/tiny:latest" "hello" --max-tokens 16 --endpoint "$endpoint"

if [ "${KEEP:-}" = 1 ]; then
  trap - EXIT
  printf '\nThe server runs on %s (process %s), the registry on %s (process %s).\n' "$endpoint" "$serve_pid" "$registry" "$registry_pid"
  printf 'Talk to it:  curl %s/v1/chat/completions -H "Content-Type: application/json" -d '"'"'{"model":"%s","messages":[{"role":"user","content":"hello"}]}'"'"'\n' "$endpoint" "$registry/ai/tiny:latest"
  printf 'Stop both:   kill %s %s\n' "$serve_pid" "$registry_pid"
  exit 0
fi
finish
serve_pid='' registry_pid=''
step "done; every process is stopped"
printf 'Everything is in ./demo:\n'
du -sh "$demo"/{inputs,out,registry,home,models} | sed "s,$PWD,.,"
