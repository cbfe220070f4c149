// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	got := ui.Columns("lrl", [][]string{{"NAME", "SIZE", "WHAT"}, {"模型", "1.2 GB", ""}, {"a\nb\x1b[2J", "7 B", "x"}, {"short"}})
	want := "  NAME       SIZE  WHAT\n" +
		"  模型     1.2 GB\n" +
		"  a\uFFFDb\uFFFD[2J     7 B  x\n" +
		"  short\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What does not fit a screen is broken where it can still be read, and words
// that are there to be copied stay whole.
func TestFit(t *testing.T) {
	t.Parallel()
	const name = "huggingface.co/mlx-community/qwen3-coder-next-4bit:latest"
	for what, tt := range map[string]struct {
		align string
		limit int
		rows  [][]string
		want  string
	}{
		"fits": {"lrl", 40, [][]string{{"NAME", "SIZE", "WHAT"}, {"a", "1 B", "b"}}, "  NAME  SIZE  WHAT\n  a      1 B  b\n"},
		"long names": {
			"llrl", 60,
			[][]string{{"NAME", "ID", "SIZE", "BY"}, {name, "0123456789ab", "4.5 GB", "vllm"}, {"a", "ba", "1 B", "cannot be served: it needs code of its own, which is not run here, ever"}},
			"  NAME\n    ID              SIZE  BY\n  " + name + "\n    0123456789ab  4.5 GB  vllm\n  a\n    ba               1 B  cannot be served: it needs code of\n                          its own, which is not run here,\n                          ever\n",
		},
		"one remark": {
			"lrl", 60,
			[][]string{{"NAME", "SIZE", ""}, {name[15:], "4.5 GB", ""}, {"b", "1 B", ""}, {"c", "1 B", "no model uses them, and 'metalrun rm --unused' removes them"}},
			"  NAME                                          SIZE\n  mlx-community/qwen3-coder-next-4bit:latest  4.5 GB\n  b                                              1 B\n  c                                              1 B\n      no model uses them, and 'metalrun rm --unused' removes\n      them\n",
		},
		"digests": {
			"lld", 40,
			[][]string{{"FILE", "STATE", "DIGEST"}, {"config.json", "there", "sha256:" + strings.Repeat("0123", 16)}},
			"  FILE         STATE  DIGEST\n  config.json  there  sha256:01…01230123\n",
		},
		"text in lines": {
			"ll", 46,
			[][]string{{"id", "sha256:" + strings.Repeat("0123", 16)}, {"description", "a small model, \x1b that talks a lot and ends"}, {"licence", "MIT"}, {"name", " "}, {"more"}},
			"  id           sha256:" + strings.Repeat("0123", 16) + "\n  description  a small model, \uFFFD that talks a\n               lot and ends\n  licence      MIT\n  name\n  more\n",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got := ui.Fit(tt.align, tt.rows, tt.limit)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A table knows the terminal that stdout is.
func TestTable(t *testing.T) {
	t.Parallel()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = screen.Close() }()
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 41, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = out.ReadFrom(screen) }) // EIO ends it, when tty closes
	rows := [][]string{{"ab", strings.Repeat("0123 ", 12)}}
	c := &ui.Console{Env: &edge.Env{Stdout: tty}}
	if got, want := c.Table("ll", rows), ui.Fit("ll", rows, 40); got != want || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Env.Stdout = &out
	if got, want := c.Table("ll", rows), ui.Columns("ll", rows); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	reader.Wait()
}
