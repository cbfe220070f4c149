// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package interop lets other people's programs and libraries judge what
// metalpack and metalrun write. It is a module of its own, so that no judge
// becomes a dependency of the product, and it knows the product by its built
// programs and docs/format.md alone: what it reads, any reader could. Models,
// interpreter and hub come from internal/devtool.
//
// TestJudges makes the artifacts once, on loopback: the real mlx-lm environment
// of internal/demo/recipe, every layer anew, and two tiny models with random
// weights, one of them in two shards and with directories in it, in both
// formats. Then the judges look at them, one file each:
//
//	crane      go-containerregistry's validation, and its export of the files
//	skopeo     every manifest and blob to an OCI layout and back; layers decompressed
//	umoci      the unpacked image against metalpack/tree
//	oras       the pulled models against their source
//	dmr        Docker Model Runner's library on the registry and on our store, and we on what it builds
//	modctl     the reference client of ModelPack pulls the models of that format
//	modelspec  the CNCF schema of the models' config
//	inputs     pip and uv on a wheelhouse and its lock, oras on an archive of inputs
//	engine     safetensors and mlx_lm.load open what came back and count it; OpenAI's clients
//	           chat with metalrun serve, the model pulled from a registry, layout, archive and hub,
//	           and by Docker Model Runner
//	reproduce  two builds in unlike surroundings give one digest
//
// TestLocks needs no artifact: Python's packaging and pip choose the files that
// we choose from the shipped locks and among all wheels of real packages, what
// uv writes with hashes becomes the lock that we resolve, and real git and uv
// make one wheel of a commit.
//
// TestAcceptance, behind make acceptance, has crane, skopeo, umoci and
// reproduce look at the whole vllm-metal environment of
// recipes/testdata/vllm-metal-standin.
//
// Start it with make interop at the root of the repository. A judge whose
// program is not there is skipped and says so; INTEROP_REQUIRE_ALL=1 makes
// that a failure. Everything is written below a temporary directory but for
// the interpreter archive, which the demo shares, and the users' cache of
// downloaded inputs. docs/interop.md has the results.
package interop
