# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
export GOFLAGS =

.PHONY: build bench-build demo interop test lint fmt

build: ## both programs, in ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

demo: build ## the main job on loopback, in ./demo; KEEP=1 leaves the server running
	@internal/demo/demo.sh

interop: build ## other people's programs judge what ours write; needs skopeo and umoci, or skips them
	cd interop && $(GO) tool -modfile=../tools.mod golangci-lint run ./...
	cd interop && $(GO) test -count=1 -timeout 20m -v .

bench-build: build ## a build of 160 wheels against uv, tar and gzip; needs uv and a filled cache, and says so; BENCH="-n 5" or BENCH=-quick
	cd interop && $(GO) run ./cmd/bench $(BENCH)

test: ## unit, script and end-to-end tests under the race detector
	$(GO) test -race -shuffle=on -count=1 ./...

lint: ## zero findings
	$(TOOL) golangci-lint run ./...

fmt:
	$(TOOL) golangci-lint fmt ./...
