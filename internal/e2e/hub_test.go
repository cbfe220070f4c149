// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/internal/hubtest"
)

// hubKey finds a script's hub in its environment.
type hubKey struct{}

// testHub is a hub that starts when a script first needs it.
type testHub struct {
	t   *testing.T
	hub *hubtest.Hub
}

func hubOf(ts *testscript.TestScript) *hubtest.Hub {
	h, ok := ts.Value(hubKey{}).(*testHub)
	if !ok {
		ts.Fatalf("no hub")
	}
	if h.hub == nil {
		h.hub = hubtest.New(h.t)
		ts.Setenv("HF_ENDPOINT", h.hub.Endpoint)
	}
	return h.hub
}

// cmdHub publishes a directory as a commit: weights and tokenizer in LFS, the
// rest in git. HF_ENDPOINT is the hub then, $COMMIT the commit. Keys:
//
//	ref=NAME       the branch or tag that leads to it, in the place of main
//	gated=TOKEN    its terms must be accepted; TOKEN's account has
//	private=TOKEN  TOKEN's account alone sees it
//	wrong=PATH     the hub says another sha256 of this file than it has
//	changed=PATH   the hub serves another file there than its list says
func cmdHub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: hub NAME DIR [KEY=VALUE…]")
	}
	h, ok := ts.Value(hubKey{}).(*testHub)
	if !ok {
		ts.Fatalf("no hub")
	}
	hub, o := hubOf(ts), pairs(ts, args[2:])
	r := hubtest.Repo{Name: args[0], Token: o["gated"] + o["private"], Gated: o["gated"] != "", Private: o["private"] != ""}
	if o["ref"] != "" {
		r.Refs = []string{o["ref"]}
	}
	dir := ts.MkAbs(args[1])
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := hubtest.File{Path: filepath.ToSlash(rel), LFS: filepath.Ext(path) == ".safetensors" || rel == "tokenizer.json"}
		if f.Path == o["wrong"] {
			f.SHA256 = strings.Repeat("0123abcd", 8)
		}
		f.Data, err = os.ReadFile(path)
		r.Files = append(r.Files, f)
		return err
	}))
	ts.Setenv("COMMIT", hub.Add(h.t, r))
	if path := o["changed"]; path != "" {
		data, err := os.ReadFile(filepath.Join(dir, path))
		ts.Check(err)
		data[len(data)-1] ^= 1
		hub.Change(h.t, r.Name, path, data)
	}
}
