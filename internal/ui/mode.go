// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/metalpack/metalpack/internal/edge"
)

// Mode says how events are rendered.
type Mode int

// The modes.
const (
	Plain    Mode = iota // a line per finished item
	Quiet                // notes and retries only
	NDJSON               // one JSON object per event
	Terminal             // live lines
	Auto                 // Terminal where stderr is one and nothing speaks against it, else Plain
)

// modes are the words of --progress, in the order of the help.
var modes = []struct {
	word string
	mode Mode
}{{"auto", Auto}, {"tty", Terminal}, {"plain", Plain}, {"quiet", Quiet}, {"json", NDJSON}}

// Usage is the help of the flag --progress.
const Usage = "`mode` of progress on stderr: auto, tty, plain, quiet or json"

// DefaultMode is the default of the flag --progress.
const DefaultMode = "auto"

// ParseMode reads the value of --progress. The error wraps [edge.ErrUsage].
func ParseMode(word string) (Mode, error) {
	words := make([]string, 0, len(modes))
	for _, m := range modes {
		if m.word == word {
			return m.mode, nil
		}
		words = append(words, m.word)
	}
	return Plain, edge.Usagef("--progress %q: want %s", word, strings.Join(words, ", "))
}

// automatic decides between Terminal and Plain: w is a terminal that can move
// its cursor, and neither NO_COLOR nor CI asks for text that stays.
func automatic(w io.Writer, getenv func(string) string) Mode {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Plain
	}
	if t := getenv("TERM"); t == "" || t == "dumb" || getenv("NO_COLOR") != "" || getenv("CI") != "" {
		return Plain
	}
	return Terminal
}

// screen tells the columns and rows of a terminal.
type screen func() (width, height int)

// What is assumed of a terminal that does not tell its size.
const (
	assumedWidth  = 80
	assumedHeight = 24
)

// screenOf returns the size of the terminal that w is, asked anew each time.
func screenOf(w io.Writer) screen {
	return func() (int, int) {
		if f, ok := w.(*os.File); ok {
			if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
				return width, height
			}
		}
		return assumedWidth, assumedHeight
	}
}

// String returns the word of --progress for m.
func (m Mode) String() string {
	for _, k := range modes {
		if k.mode == m {
			return k.word
		}
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}
