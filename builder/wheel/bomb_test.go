// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/bombtest"
)

// TestBombs: metadata that would make a small wheel cost a machine its memory or
// its day is refused at a cap, in a message that one can read.
func TestBombs(t *testing.T) {
	t.Parallel()
	more := func(rows string) []byte { return record(func(s string) string { return s + rows }) }
	entry := func(s string) []byte { return build(nil, wheeltest.Options{EntryPoints: "[console_scripts]\n" + s}) }
	scripts, infos := map[string]string{}, map[string]string{}
	long := "#!python\n" + strings.Repeat(bombtest.Rows(1000, "# %08d\n"), 90)
	for i := range 5 {
		scripts[fmt.Sprintf("demo-1.0.data/scripts/s%d", i)] = long
	}
	for i := range 1_000 {
		infos[fmt.Sprintf("x%d.dist-info/x", i)] = ""
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"rows":             {more(strings.Repeat("x,,\n", MaxMembers)), "RECORD: more than 100000 rows"},
		"fields":           {more(strings.Repeat(",", maxRow+1)), "longer than 2304 bytes"},
		"fields in quotes": {more(strings.Repeat("\"\n\",,,,,,", 10)), "a quote is open at its end"},
		"long field":       {more("x," + strings.Repeat("h", 2000) + ",\n" + strings.Repeat("y", 2000) + ",\n"), `fields, want 3`},
		"long size":        {more("x,," + strings.Repeat("1", 2000) + "\n"), `size "1111`},
		"commands":         {entry(bombtest.Rows(maxCommands+1, "c%d=a:b\n")), "more than 10000 commands"},
		"long command":     {entry("c=" + strings.Repeat("a", 2000) + ":b\n"), "want NAME = MODULE:FUNCTION"},
		"scripts":          {build(scripts, wheeltest.Options{}), "s4: it and the other scripts to be rewritten have more than 4194304 bytes"},
		"metadata":         {build(infos, wheeltest.Options{}), "1001 .dist-info directories"},
		"long name":        {build(nil, wheeltest.Options{Metadata: "Name: " + bombtest.Rows(10_000, "%d") + "\nVersion: 1\n"}), "METADATA: is of"},
		"long version":     {build(nil, wheeltest.Options{Wheel: "Wheel-Version: " + bombtest.Rows(10_000, "%d") + "\n"}), "this program reads 1.x"},
	} {
		_, err := open(c.data, hostileName)
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.500v; want %q", name, err, c.want)
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
}
