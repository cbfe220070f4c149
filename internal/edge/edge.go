// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package edge is what both programs share where they touch the user: the
// process environment as a value, the table from error to exit code, the table
// from error to hints, the last lines a failed command prints, and the signals
// that end a program.
//
// A command returns an error; [Env.Fail] prints "program: error: …" and the
// hints on stderr, and returns what --json prints of it and the exit code. Each
// program adds rows for the sentinels that only it knows.
package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/typo"
)

// Exit codes, the same in both programs.
const (
	ExitOK           = 0
	ExitError        = 1
	ExitUsage        = 2
	ExitVerification = 3
	ExitNotFound     = 4
	ExitAuth         = 5
	ExitUnsupported  = 6
	ExitInterrupted  = 130
)

// ExitStatus is the text that every --help ends with.
const ExitStatus = `EXIT STATUS
  0 ok, 1 error, 2 usage, 3 verification failed, 4 not found,
  5 not authorized, 6 this host is not supported, 130 interrupted`

// ErrUsage marks a command line that does not parse.
var ErrUsage = errors.New("usage")

// Env is the process as a command sees it.
type Env struct {
	Program string // metalpack or metalrun
	Args    []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	Rows    []Row // the program's own, looked at before the common ones, or in the place of one
}

// Row says what an error means to the user: the exit code, and what to do.
type Row struct {
	Is   error // sentinel
	Code int
	Hint string // may be ""
}

// rows returns the table, first match wins. A row of the program's own for what
// is common stands in that one's place: what comes before it matters more.
func (e *Env) rows() []Row {
	var own []Row
	rows := e.common()
	for _, r := range e.Rows {
		if i := slices.IndexFunc(rows, func(c Row) bool { return errors.Is(c.Is, r.Is) }); i >= 0 {
			rows[i] = r
		} else {
			own = append(own, r)
		}
	}
	return append(own, rows...)
}

// common is what errors mean to the user of either program.
func (e *Env) common() []Row {
	return []Row{
		{Is: context.Canceled, Code: ExitInterrupted},
		{Is: ErrUsage, Code: ExitUsage, Hint: "see '" + e.Program + " --help'"},
		{Is: bundle.ErrMismatch, Code: ExitVerification, Hint: "the bytes are damaged or were altered; nothing of them was kept: try again, or take another source"},
		{Is: bundle.ErrUnauthorized, Code: ExitAuth, Hint: "log in with 'docker login REGISTRY', or name a repository that is public"},
		{Is: bundle.ErrUnsupportedHost, Code: ExitUnsupported},
		{Is: bundle.ErrUnreachable, Code: ExitError, Hint: "check the name, the network and HTTPS_PROXY; a registry without TLS needs --plain-http"},
		{Is: bundle.ErrUnavailable, Code: ExitError, Hint: "try again later: what came and is right is kept"},
		{Is: bundle.ErrNotFound, Code: ExitNotFound},
		{Is: syscall.ENOSPC, Code: ExitError, Hint: fullDisk},
		{Is: syscall.EDQUOT, Code: ExitError, Hint: fullDisk},
		{Is: fs.ErrPermission, Code: ExitError, Hint: forbidden},
		{Is: syscall.EROFS, Code: ExitError, Hint: forbidden},
	}
}

const fullDisk = "make room there, or name a place on another disk: what is finished is kept, and the next run goes on"

const forbidden = "look at who may read and write there, or name another place"

// hinter is an error that brings its own hint.
type hinter interface {
	error
	Hint() string
}

// Classify returns the exit code of err and the hints for it.
func (e *Env) Classify(err error) (code int, hints []string) {
	if err == nil {
		return ExitOK, nil
	}
	if h, ok := errors.AsType[hinter](err); ok && h.Hint() != "" {
		hints = append(hints, h.Hint())
	}
	for _, r := range e.rows() {
		if errors.Is(err, r.Is) {
			if r.Hint != "" && len(hints) == 0 {
				hints = append(hints, r.Hint)
			}
			return r.Code, hints
		}
	}
	return ExitError, hints
}

// WithHint adds a line that the user can act on to err.
func WithHint(err error, format string, args ...any) error {
	return &hinted{error: err, hint: fmt.Sprintf(format, args...)}
}

// Quote is a word as a shell takes it, for a command in a hint.
func Quote(word string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-:@+,=%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(word) + `"`
}

// Hinted reports whether err brings its own hint.
func Hinted(err error) bool {
	h, ok := errors.AsType[hinter](err)
	return ok && h.Hint() != ""
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }

// Errorf is an error that is sentinel and says only what format says: for a
// sentinel that decides the exit code and whose words would mislead.
func Errorf(sentinel error, format string, args ...any) error {
	return &classed{error: fmt.Errorf(format, args...), class: sentinel}
}

type classed struct {
	error
	class error
}

func (c *classed) Unwrap() []error { return []error{c.error, c.class} }

// Usagef is a usage error.
func Usagef(format string, args ...any) error {
	return Errorf(ErrUsage, format, args...)
}

// UnknownCommand is the usage error of a word that is none of the known commands
// of program, which may be a command itself, like metalpack model.
func UnknownCommand(program, word string, known []string) error {
	_, parent, _ := strings.Cut(program, " ")
	err := Usagef("unknown command %q", strings.TrimSpace(parent+" "+word))
	if like := typo.Nearest(word, known); like != "" {
		return WithHint(err, "did you mean '%s %s'? '%s --help' lists all", program, like, program)
	}
	return WithHint(err, "see '%s --help'", program)
}

// UnknownFlag is the usage error of a flag, without its dashes, that is none of
// the known ones of command, like metalrun list.
func UnknownFlag(command, name string, known []string) error {
	err := Usagef("unknown flag: --%s", name)
	if like := typo.Nearest(name, known); like != "" {
		return WithHint(err, "did you mean --%s? '%s --help' lists all", like, command)
	}
	return WithHint(err, "see '%s --help'", command)
}

// WantArgs checks the number of a verb's arguments by the names of those wanted.
func WantArgs(verb string, args []string, names ...string) error {
	if len(args) < len(names) {
		return Usagef("%s: missing %s", verb, names[len(args)])
	}
	if len(args) > len(names) {
		return Usagef("%s: unexpected argument %q", verb, args[len(names)])
	}
	return nil
}

// WantsJSON finds --json on a command line that perhaps does not parse.
func (e *Env) WantsJSON() bool {
	args := e.Args
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "-json")
}

// Failure is what --json prints of a run that failed.
type Failure struct {
	Error    string   `json:"error"`
	Hints    []string `json:"hints,omitempty"`
	ExitCode int      `json:"exitCode"`
	Result   any      `json:"result,omitempty"` // of what succeeded all the same, as it is without a failure; nil = nothing
}

// Fail reports err, which is not nil, on stderr.
func (e *Env) Fail(err error) Failure {
	code, hints := e.Classify(err)
	text := withoutTails(err.Error())
	if code == ExitInterrupted {
		text = "interrupted"
	}
	// A stderr that is gone leaves nobody to tell.
	_, _ = fmt.Fprintf(e.Stderr, "%s: error: %s\n", e.Program, Clean(text))
	for _, h := range hints {
		_, _ = fmt.Fprintf(e.Stderr, "hint: %s\n", Clean(h))
	}
	return Failure{Error: text, Hints: hints, ExitCode: code}
}

// withoutTails drops from the end of each line the words of sentinels that add
// nothing to what stands before them.
func withoutTails(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		for _, s := range []error{ErrUsage, bundle.ErrInvalid} {
			lines[i] = strings.TrimSuffix(lines[i], ": "+s.Error())
		}
	}
	return strings.Join(lines, "\n")
}

// Clean makes text from outside safe for a terminal: control characters but
// newline and tab become visible.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\n' && r != '\t') || (r >= 0x7f && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}
