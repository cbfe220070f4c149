// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/internal/dmrtest"
)

// cmdDMR starts a Docker Model Runner on a store. What it is asked goes into
// dmr.log, and $MODEL_RUNNER_HOST names it.
func cmdDMR(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: dmr DIR [FAULT]")
	}
	d := &dmrtest.Daemon{Dir: ts.MkAbs(args[0])}
	if len(args) == 2 {
		d.Fault = dmrtest.Fault(args[1])
	}
	log, err := os.Create(ts.MkAbs("dmr.log"))
	ts.Check(err)
	d.Log = func(line string) { _, _ = fmt.Fprintln(log, line) } // one that is missing is missed by the script
	srv := httptest.NewServer(d)
	ts.Defer(func() {
		srv.Close()
		ts.Check(log.Close())
	})
	ts.Setenv("MODEL_RUNNER_HOST", srv.URL)
}
