// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
)

// Console is where a run of a program speaks: results on stdout, notes and
// progress on stderr, both as the flags that every verb has will have it. Before
// Open there is no progress.
type Console struct {
	Env      *edge.Env
	JSON     bool   // --json
	Progress string // --progress
	screen   *Renderer
}

// UsageJSON explains --json.
const UsageJSON = "print the result, and an error, as JSON"

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

// Result prints v as JSON under --json, else text, made safe for a terminal.
func (c *Console) Result(v any, text string) error {
	if c.JSON {
		return c.Document(v)
	}
	return c.Print(edge.Clean(text))
}

// Document prints v as JSON, whatever the flags say.
func (c *Console) Document(v any) error {
	c.Clear()
	enc := json.NewEncoder(c.Env.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Plural counts things: 1 layer, 2 layers.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
