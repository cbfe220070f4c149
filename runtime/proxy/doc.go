// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy is the one endpoint for every model: the HTTP handler behind
// metalrun serve, and the manager that loads an engine when a model is asked
// for.
//
// # Start here
//
// [New] makes the handler from a list of models ([Models]) and something that
// provides a running engine for one ([Backends]); [NewManager] is the Backends
// that launches engines of an installed environment.
//
// # How it works
//
// The API stands under /v1 and, for clients of Docker Model Runner, under
// /engines/v1. GET …/models is answered here. A POST is read whole (up to a
// cap) and looked through without being decoded, its model is looked up among
// the names and tags, and its bytes are sent on with the name that the engine
// understands; the answer, streamed or not,
// carries the name that the client asked for. stream_options without
// include_usage is taken out, because mlx_lm breaks the stream on it.
//
// # Promises
//
// Every error has OpenAI's shape, {"error":{"message","type","param","code"}},
// also one in the middle of a stream, and an engine's failure carries its root
// cause. A client that goes away ends its request to the engine. A request
// whose Host or Origin is not loopback or allowed is refused, so that no web
// page reaches a model by DNS rebinding. No header of the client but the
// content type reaches an engine.
package proxy
