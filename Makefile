# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
BIN := $(CURDIR)/bin
TOOL = $(GO) tool -modfile=tools.mod
export GOFLAGS =

.PHONY: lint test fmt

lint: ## zero findings
	$(TOOL) golangci-lint run ./...

test: ## unit and script tests under the race detector
	$(GO) test -race -shuffle=on -count=1 ./...

fmt:
	$(TOOL) golangci-lint fmt ./...
