// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

var (
	entryTarget = regexp.MustCompile(`^([\pL_][\pL\pN_]*(?:\.[\pL_][\pL\pN_]*)*)\s*:\s*([\pL_][\pL\pN_]*(?:\.[\pL_][\pL\pN_]*)*)\s*(?:\[[^\]]*\])?$`)
	reserved    = regexp.MustCompile(`(?i)^(python|pythonw|python[0-9][0-9.]*|activate(\..*|_this\.py)?)(\.exe)?$`)
)

// prelude makes a file a shell script that runs itself with the interpreter
// beside it, wherever the tree lies. For sh the second line is exec; for Python
// it begins a string that ends on the third.
func prelude(python string) string {
	return "#!/bin/sh\n" +
		`'''exec' "$(dirname -- "$(realpath -- "$0")")/python` + python + `" -I -B "$0" "$@"` + "\n" +
		"' '''\n"
}

// launcher is the script of a console entry point.
func launcher(python, module, function string) []byte {
	first, _, _ := strings.Cut(function, ".")
	return []byte(prelude(python) +
		"import sys\n" +
		"from " + module + " import " + first + "\n" +
		`if __name__ == "__main__": sys.exit(` + function + "())\n")
}

// rewriteScript replaces the line "#!python" of a script. It reports whether
// there was one.
func rewriteScript(python string, script []byte) ([]byte, bool) {
	if !bytes.HasPrefix(script, []byte("#!python")) {
		return script, false
	}
	_, rest, _ := bytes.Cut(script, []byte("\n"))
	return append([]byte(prelude(python)), rest...), true
}

// Caps on entry points. Real wheels have some dozens.
const (
	maxCommands = 10_000
	maxTarget   = 1024 // bytes of a line that makes a command
)

// checkCommand reports why name cannot be a file in bin. The error wraps
// ErrInvalid.
func checkCommand(name string) error {
	if err := bundle.CheckPath(name); err != nil {
		return err
	}
	if strings.Contains(name, "/") {
		return invalid("command %q: not a plain file name", name)
	}
	if reserved.MatchString(name) {
		return invalid("command %q: the name belongs to the interpreter", name)
	}
	return nil
}

// parseEntryPoints returns the launchers that entry_points.txt asks for, by
// command. Errors wrap ErrInvalid.
func parseEntryPoints(data []byte, python string) (map[string][]byte, error) {
	commands := map[string][]byte{}
	section := ""
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.TrimSpace(line[1 : len(line)-1])
			continue
		}
		if section != "console_scripts" && section != "gui_scripts" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		target := entryTarget.FindStringSubmatch(value)
		if !ok || target == nil || len(line) > maxTarget {
			return nil, invalid("%q: want NAME = MODULE:FUNCTION", clip(line))
		}
		if err := checkCommand(name); err != nil {
			return nil, err
		}
		script := launcher(python, target[1], target[2])
		if old, twice := commands[name]; twice && !bytes.Equal(old, script) {
			return nil, invalid("command %q appears twice", name)
		}
		if commands[name] = script; len(commands) > maxCommands {
			return nil, invalid("more than %d commands", maxCommands)
		}
	}
	if s.Err() != nil { // of a reader of bytes there is no other
		return nil, invalid("a line is longer than %d bytes", bufio.MaxScanTokenSize)
	}
	return commands, nil
}
