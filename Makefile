# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
export GOFLAGS =

.PHONY: build demo interop test lint fmt

build: ## both programs, in ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

demo: build ## the main job on loopback, in ./demo; KEEP=1 leaves the server running
	@internal/demo/demo.sh

interop: build ## other people's programs judge what ours write; needs skopeo and umoci, or skips them
	cd interop && $(GO) tool -modfile=../tools.mod golangci-lint run ./...
	cd interop && $(GO) test -count=1 -timeout 20m -v .

test: ## unit, script and end-to-end tests under the race detector
	$(GO) test -race -shuffle=on -count=1 ./...

lint: ## zero findings
	$(TOOL) golangci-lint run ./...

fmt:
	$(TOOL) golangci-lint fmt ./...
