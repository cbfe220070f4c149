# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
export GOFLAGS =

.PHONY: build demo interop oracle acceptance bench-build bench-model test lint fmt

build: ## both programs, in ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/ ./cmd/...

demo: build ## the main job on loopback, in ./demo; KEEP=1 leaves the server running
	@internal/demo/demo.sh

interop: build ## other people's programs judge what ours write; needs skopeo and umoci, or skips them
	cd interop && $(GO) tool -modfile=../tools.mod golangci-lint run ./...
	cd interop && $(GO) test -count=1 -timeout 20m -v .

bench-build: build ## a build of 160 wheels against uv, tar and gzip; needs uv and a filled cache, and says so; BENCH="-n 5" or BENCH=-quick
	cd interop && $(GO) run ./cmd/bench $(BENCH)

bench-model: build ## pushes and pulls of a 2 GB model against oras, on loopback and in memory; BENCH="-n 5", -quick or "-dir DIR"
	cd interop && $(GO) run ./cmd/benchmodel $(BENCH)

acceptance: build ## the same for all 160 packages of vllm-metal, with stand-ins for its release assets; moves 10 GB
	cd interop && INTEROP_ACCEPTANCE=1 $(GO) test -count=1 -timeout 60m -v -run TestAcceptance .

# fetch also wants the interpreters, which may be out of reach here and are no
# wheels; the test misses no wheel of an index.
oracle: build ## pip's own installation of every wheel of the locks judges package wheel; fetches 1 GB once
	-bin/metalpack fetch vllm-metal >/dev/null
	-for p in darwin/arm64 linux/amd64 linux/arm64; do bin/metalpack fetch mlx-lm --platform $$p >/dev/null; done
	python3 -m venv bin/venv
	METALPACK_TEST_ORACLE_PYTHON=$(CURDIR)/bin/venv/bin/python $(GO) test -count=1 -timeout 60m -v -run PipOracle ./builder/wheel

test: ## unit, script and end-to-end tests under the race detector
	GORACE=atexit_sleep_ms=0 $(GO) test -race -shuffle=on -count=1 -timeout 30m ./...

lint: ## zero findings
	$(TOOL) golangci-lint run ./...

fmt:
	$(TOOL) golangci-lint fmt ./...
