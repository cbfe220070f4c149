// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// interpreterProbe names the first rung, which no environment lists.
const interpreterProbe = "interpreter"

// The programs of the rungs. What they work on comes as arguments, so that
// nothing has to be quoted.
const (
	interpreterProgram = `import platform, sys
print(platform.python_version(), sys.platform, platform.machine())`

	importProgram = `import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)`

	versionProgram = `import importlib, importlib.metadata, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(importlib.metadata.version(sys.argv[1]))`

	callProgram = `import importlib, sys
expression = sys.argv[1]
names = expression.split("(")[0].strip().split(".")
for n in range(len(names) - 1, 0, -1):
    module = ".".join(names[:n])
    try:
        importlib.import_module(module)
        break
    except ModuleNotFoundError as e:
        if n == 1 or e.name is None or not (module + ".").startswith(e.name + "."):
            raise
scope = {names[0]: sys.modules[names[0]]} if len(names) > 1 else {}
result = str(eval(expression, scope))
sys.stdout.flush()
print("\n" + result)`
)

// program returns what a rung runs and how its output is judged.
func (l *ladder) program(p bundle.Probe) (program string, args []string, check func(output string) error, err error) {
	check = func(string) error { return nil }
	switch {
	case p.Code != "":
		return p.Code, nil, check, nil
	case p.Call != "":
		if p.Equals != "" {
			check = equals(p.Equals)
		}
		return callProgram, []string{p.Call}, check, nil
	case len(p.Import) > 0 && p.Version != "":
		want, err := l.declared(p.Version)
		if err != nil {
			return "", nil, nil, err
		}
		return versionProgram, append([]string{p.Version}, p.Import...), l.version(p.Version, want), nil
	case len(p.Import) > 0:
		return importProgram, p.Import, check, nil
	case p.Name == interpreterProbe:
		return interpreterProgram, nil, l.interpreter, nil
	}
	return "", nil, nil, fmt.Errorf("it names nothing to run: %w", bundle.ErrInvalid)
}

// declared returns the version that environment.json gives a package.
func (l *ladder) declared(name string) (string, error) {
	i := slices.IndexFunc(l.env.Packages, func(p bundle.Package) bool { return p.Name == name })
	if i < 0 {
		return "", fmt.Errorf("environment.json lists no package %s: %w", name, bundle.ErrInvalid)
	}
	return l.env.Packages[i].Version, nil
}

func equals(want string) func(string) error {
	return func(output string) error {
		if got := lastLine(output); got != want {
			return fmt.Errorf("it gives %q, want %q", got, want)
		}
		return nil
	}
}

func (l *ladder) version(name, want string) func(string) error {
	return func(output string) error {
		if got := lastLine(output); got != want {
			return fmt.Errorf("%s is version %q, environment.json says %q", name, got, want)
		}
		return nil
	}
}

// interpreter checks "3.12.16 darwin arm64".
func (l *ladder) interpreter(output string) error {
	f := strings.Fields(lastLine(output))
	if len(f) != 3 {
		return fmt.Errorf("it says %q, want version, system and machine", output)
	}
	if f[0] != l.env.Interpreter.Version {
		return fmt.Errorf("it is Python %s, environment.json says %s", f[0], l.env.Interpreter.Version)
	}
	machine := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[f[2]]
	if machine == "" {
		machine = f[2]
	}
	if got := f[1] + "/" + machine; got != l.host.String() {
		return fmt.Errorf("it runs as %s on %s", got, l.host)
	}
	return nil
}
