// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/internal/child"
)

// Sentinels that an [*Error] wraps.
var (
	// ErrNotReady: the engine did not generate a token in time, or cannot.
	ErrNotReady = errors.New("not ready")
	// ErrExited: the engine ended by itself.
	ErrExited = errors.New("the engine ended")
)

// Error says why an engine does not serve.
type Error struct {
	Engine    string
	ExitCode  int    // of the process; -1 if it was ended by a signal or had not ended
	Signal    string // that ended it, "" if none
	Traceback string // the first in the log, "" if none
	Advice    string // of the first known failure line in the log
	LogPath   string // the whole log
	Cause     error  // ErrNotReady or ErrExited, perhaps with more
}

// Summary is the error on one line: the exception instead of the traceback.
func (e *Error) Summary() string {
	text := e.headline()
	if last := lastLine(e.Traceback); last != "" {
		text += ": " + last
	}
	return text
}

// Error is the headline and, below it, the traceback.
func (e *Error) Error() string {
	if e.Traceback == "" {
		return e.headline()
	}
	return e.headline() + "; its first traceback:\n" + e.Traceback
}

// headline says what happened to which engine.
func (e *Error) headline() string {
	switch {
	case !errors.Is(e.Cause, ErrExited):
		return fmt.Sprintf("engine %s: %v", e.Engine, e.Cause)
	case e.Signal != "":
		return fmt.Sprintf("engine %s: ended by signal: %s", e.Engine, e.Signal)
	default:
		return fmt.Sprintf("engine %s: ended with exit status %d", e.Engine, e.ExitCode)
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Hint is what the user can do: the advice for a known failure, and where the
// log is.
func (e *Error) Hint() string {
	where := "the engine's log is " + e.LogPath
	if e.Advice == "" {
		return where
	}
	return e.Advice + "; " + where
}

func lastLine(s string) string {
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// setExit reads how a process ended from what waiting for it returned.
func (e *Error) setExit(waitErr error) {
	e.ExitCode = 0
	if exit, ok := errors.AsType[*child.ExitError](waitErr); ok {
		e.ExitCode = exit.Code
		if exit.Signal != 0 {
			e.Signal = exit.Signal.String()
		}
	}
}
