// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package repotest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Sizes beyond which a reader loses the thread.
const (
	maxFileLines = 350
	maxFuncLines = 60
)

const header = "// Copyright The metalpack Authors\n// SPDX-License-Identifier: Apache-2.0\n\n"

// goFiles lists the Go files that the go tool would see, relative to root.
func goFiles(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(trackedFiles(t), func(p string) bool {
		if path.Ext(p) != ".go" || strings.HasPrefix(p, "interop/") {
			return true
		}
		return slices.ContainsFunc(strings.Split(p, "/"), func(c string) bool {
			return c == "testdata" || strings.HasPrefix(c, "_") || strings.HasPrefix(c, ".")
		})
	})
}

func parse(t *testing.T, fset *token.FileSet, p string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, filepath.Join(root, p), nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHeadersAndSizes(t *testing.T) {
	t.Parallel()
	for _, p := range goFiles(t) {
		if strings.HasSuffix(p, "_test.go") {
			if !strings.HasPrefix(read(t, p), header) {
				t.Errorf("%s: want the two header lines and a blank one", p)
			}
			continue
		}
		fset := token.NewFileSet()
		f := parse(t, fset, p, parser.ParseComments|parser.SkipObjectResolution)
		if !ast.IsGenerated(f) && !strings.HasPrefix(read(t, p), header) {
			t.Errorf("%s: want the two header lines and a blank one", p)
		}
		if n := fset.File(f.FileStart).LineCount(); n > maxFileLines {
			t.Errorf("%s: %d lines, more than %d", p, n, maxFileLines)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
				t.Errorf("%s: %s: %d lines, more than %d", fset.Position(fn.Pos()), fn.Name.Name, n, maxFuncLines)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, p := range goFiles(t) {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		f := parse(t, token.NewFileSet(), p, parser.ParseComments|parser.PackageClauseOnly)
		dir := path.Dir(p)
		documented[dir] = documented[dir] || f.Doc.Text() != ""
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

// rule forbids what lies below from to reach, directly or not, what lies below
// one of the packages to.
type rule struct {
	from string
	to   []string
	why  string
}

func rules() []rule {
	own := func(dirs ...string) []string {
		for i, d := range dirs {
			dirs[i] = module + "/" + d
		}
		return dirs
	}
	small := []string{"github.com/spf13/cobra", "github.com/google/go-containerregistry", "github.com/distribution/distribution", "github.com/sigstore"}
	return []rule{
		{"bundle", own("builder", "runtime", "recipes", "verify", "cmd", "internal/cli", "internal/runcli"), "bundle is a leaf"},
		{"verify", own("builder", "runtime", "recipes", "cmd", "internal/cli", "internal/runcli"), "verify stands on bundle alone"},
		{"runtime", append(own("builder", "recipes", "cmd", "internal/cli", "internal/runcli"), small...), "metalrun stays small"},
		{"internal/runcli", append(own("builder", "recipes", "internal/cli"), small...), "metalrun stays small"},
		{"cmd/metalrun", append(own("builder", "recipes", "internal/cli"), small...), "metalrun stays small"},
		{"recipes", own("builder", "runtime", "verify", "cmd", "internal/cli", "internal/runcli"), "recipes stand on bundle alone"},
		{"builder", own("runtime", "verify", "cmd", "internal/cli", "internal/runcli"), "the builder does not know the user's machine"},
	}
}

// importGraph maps each of our packages to what its files, tests excepted,
// import.
func importGraph(t *testing.T) map[string][]string {
	t.Helper()
	graph := map[string][]string{}
	for _, p := range goFiles(t) {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		pkg := module + "/" + path.Dir(p)
		f := parse(t, token.NewFileSet(), p, parser.ImportsOnly)
		for _, spec := range f.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			graph[pkg] = append(graph[pkg], to)
		}
	}
	return graph
}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	graph := importGraph(t)
	for _, r := range rules() {
		for pkg := range graph {
			if !below(pkg, module+"/"+r.from) {
				continue
			}
			for _, way := range reach(graph, []string{pkg}, map[string]bool{}, r.to) {
				t.Errorf("%s: %s", strings.Join(way, " -> "), r.why)
			}
		}
	}
}

func below(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// reach returns the ways from the end of way to a forbidden package.
func reach(graph map[string][]string, way []string, seen map[string]bool, forbidden []string) (ways [][]string) {
	for _, to := range graph[way[len(way)-1]] {
		if seen[to] {
			continue
		}
		seen[to] = true
		next := append(slices.Clone(way), to)
		if slices.ContainsFunc(forbidden, func(dir string) bool { return below(to, dir) }) {
			ways = append(ways, next)
			continue
		}
		ways = append(ways, reach(graph, next, seen, forbidden)...)
	}
	return ways
}

// A rule that cannot fail protects nothing.
func TestReach(t *testing.T) {
	t.Parallel()
	graph := map[string][]string{"m/a": {"m/b", "x/ok"}, "m/b": {"m/a", "x/bad/v2"}}
	ways := reach(graph, []string{"m/a"}, map[string]bool{}, []string{"x/bad"})
	if len(ways) != 1 || strings.Join(ways[0], " ") != "m/a m/b x/bad/v2" {
		t.Errorf("got %v", ways)
	}
}
