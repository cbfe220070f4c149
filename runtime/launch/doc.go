// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package launch starts the server of an installed environment on a model and
// owns it until it has ended.
//
// # Start here
//
// [Start] renders a [bundle.Profile], starts the interpreter and returns a
// [Server] once it has answered with a token. [Server.Stop] ends it.
//
// # How it works
//
// The command is VERSION/bin/python3.12 -I -B -m MODULE ARGS…, by the
// version's real path, so that a switch to another version does not touch a
// running server. Its environment is built from nothing: PATH, a locale,
// PYTHONDONTWRITEBYTECODE and PYTHONSAFEPATH (because -I and -B do not reach
// the server's own children), what the profile says, and for each scratch
// variable a private empty directory. So is its working directory: Python
// helpers of an engine import from there.
//
// Ready means that the health path answers 200 and one token was generated:
// engines answer on the first long before they can do the second. An engine
// that cannot load its model, or whose port is taken, may print a traceback and
// live on, so the log is watched too: a traceback followed by a health answer
// of 503, or by silence, ends the attempt.
//
// # Promises
//
// The log is one file, whole. A failed start is an [*Error] with the first
// traceback of the log, which is the cause: what engines print last is only
// that something failed before. Whatever way a server ends, its whole process
// group is ended, and its private directories are removed.
package launch
