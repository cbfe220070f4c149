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
// killed before the leader's process id can be used again. A guard, one shell
// per program, waits for the end of this program and then kills the group.
//
// # Promises
//
// After Wait has returned no process of the group runs. The group also dies
// with this program, however that ends. Nothing that is run goes through a
// shell, and nothing is looked up in PATH. Captured output is bounded ([Tail]).
package child
