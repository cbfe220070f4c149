// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strconv"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
)

// Console is where a run of a program speaks: results on stdout, notes and
// progress on stderr, both as the flags that every verb has will have it. Before
// Open there is no progress.
//
// Under --json stdout gets one document: a result waits for End, where an error
// takes it in.
type Console struct {
	Env      *edge.Env
	JSON     bool   // --json
	Progress string // --progress
	screen   *Renderer
	result   any  // under --json, until End; nil = none
	told     bool // stdout has its document
}

// Flags adds the flags that every verb has to those of a command line.
func (c *Console) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.JSON, "json", false, "print one JSON document: the result, or error, hints, exitCode and, in result, what was done all the same")
	fs.StringVar(&c.Progress, "progress", DefaultMode, Usage)
}

// Open decides how progress is shown. Errors: [edge.ErrUsage].
func (c *Console) Open() error {
	mode, err := ParseMode(c.Progress)
	if err == nil {
		c.screen = New(c.Env.Stderr, mode, c.Env.Getenv)
	}
	return err
}

// Screen is where progress goes. It is nil before Open.
func (c *Console) Screen() *Renderer { return c.screen }

// Events returns where a library tells its progress.
func (c *Console) Events() bundle.EventFunc {
	if c.screen == nil {
		return nil
	}
	return c.screen.Event
}

// Note tells the user something on stderr.
func (c *Console) Note(format string, args ...any) {
	c.Events().Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf(format, args...)})
}

// Clear takes progress off the terminal before something else is printed there.
func (c *Console) Clear() {
	if c.screen != nil {
		c.screen.Clear()
	}
}

// Print writes text to stdout as it is.
func (c *Console) Print(text string) error {
	c.Clear()
	_, err := io.WriteString(c.Env.Stdout, text)
	return err
}

// Result prints text, made safe for a terminal, or under --json keeps v for End.
func (c *Console) Result(v any, text string) error {
	if c.JSON {
		c.result = v
		return nil
	}
	return c.Print(edge.Clean(text))
}

// Document prints v as JSON at once, whatever the flags say. An error after that
// is told on stderr alone.
func (c *Console) Document(v any) error {
	c.Clear()
	c.told = true
	enc := c.encoder()
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// End ends a run with what it came to, which under --json it prints, and returns
// the exit code. If ctx is done the run was interrupted. A stdout that nobody
// reads ends it without a word, as SIGPIPE would: [edge.ExitPipe].
func (c *Console) End(ctx context.Context, err error) int {
	c.Clear()
	if err == nil && c.result != nil {
		err = c.Document(c.result)
	}
	switch {
	case err == nil:
		return edge.ExitOK
	case c.Env.Unread(err):
		return edge.ExitPipe
	case context.Cause(ctx) != nil:
		err = context.Canceled
	}
	f := c.Env.Fail(err)
	if f.Result = c.result; (c.JSON || c.Env.WantsJSON()) && !c.told {
		_ = c.encoder().Encode(f) // a closed stdout leaves nothing to tell
	}
	return f.ExitCode
}

func (c *Console) encoder() *json.Encoder {
	enc := json.NewEncoder(c.Env.Stdout)
	enc.SetEscapeHTML(false)
	return enc
}

// Plural counts things: 1 layer, 2 layers.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
