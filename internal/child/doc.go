// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package child runs other programs: probes, compilers, servers.
//
// Start with [Run] for a program that ends by itself and [Start] for one that
// is to be ended.
//
// # How it works
//
// Every program is the leader of a process group of its own and gets exactly
// the environment that is listed in its [Spec], which is none by default. When
// the context ends, or Stop is called, the group gets SIGTERM and, after the
// grace time, SIGKILL. When the leader ends, what is left of its group is
// killed before the leader's process id can be used again.
//
// # Promises
//
// After Wait has returned no process of the group runs. On Linux the leader
// also dies with this program, however that ends. Nothing goes through a shell
// and nothing is looked up in PATH. Captured output is bounded ([Tail]).
package child
