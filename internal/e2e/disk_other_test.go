// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package e2e_test

import "github.com/rogpeppe/go-internal/testscript"

func mayMount() bool { return false }

func cmdDisk(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("no disks here") }
