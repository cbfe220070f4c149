// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the scripts that drive both programs end to end: real
// CPython, the embedded registry, a stand-in vllm_metal wheel and a stand-in
// engine, because Metal runs on no CI machine. Every bug and every kind of bad
// input becomes a script in testdata/script.
//
// Commands that scripts have besides those of testscript:
//
//	recipe DIR [KEY=VALUE…]    write a recipe, its lock and its wheels (recipe.go)
//	model DIR [KEY=VALUE…]     write a tiny model; KEY=VALUE goes into config.json
//	exits CODE PROGRAM ARG…    run a program and want that exit code
//	hub NAME DIR [KEY=VALUE…]  publish a directory on the script's own hub (hub_test.go)
//	dmr DIR [FAULT]            run a Docker Model Runner on a store (dmr_test.go)
//	fault [-storage] KEY=VALUE…    let the registry, or the hub's storage, misbehave (see regtest.Fault)
//	answers URL                wait until an HTTP server answers
//	chat [-stream] URL MODEL PROMPT    ask; the answer's text is stdout
//	append FILE TEXT           add bytes at the end of a file
//	flip FILE                  flip one bit in the middle of a file
//	disk DIR SIZE              make a directory a disk of its own, if the condition [disk] says that this can be
//	terminal FILE WORD PROGRAM ARG…    run on a pseudo-terminal, type Ctrl-C when WORD appears; FILE is the screen
//
// Scripts of metalpack have more, see withPack in pack_test.go; so have those of
// metalrun, see withRun in run_test.go. Those that kill are in kill_test.go.
//
// $REGISTRY is the script's own registry, $PORT a port that was free, $PYTHON
// the directory with the interpreter archive, $PLATFORM the host's os/arch.
package e2e
