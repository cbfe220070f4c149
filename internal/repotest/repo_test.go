// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package repotest

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	module = "github.com/metalpack/metalpack"
	root   = "../.."
)

// trackedFiles lists the repository's files, relative to root. Without git (a
// source archive) it lists what is there.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil {
		files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		return slices.DeleteFunc(files, func(p string) bool {
			_, err := os.Lstat(filepath.Join(root, p)) // deleted and not yet committed
			return err != nil
		})
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == ".git" || rel == "demo" || rel == "bin"):
			return fs.SkipDir
		case !d.IsDir():
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Locks and recipes hold identity, no address, so that a file can be had from
// any mirror. The hosts are written in pieces, lest this file names one.
func TestNoIndexAddress(t *testing.T) {
	t.Parallel()
	hosts := regexp.MustCompile(strings.Join([]string{
		`pypi` + `\.org`, `python` + `hosted\.org`, `proxy\.` + `golang\.org`, `sum\.` + `golang\.org`,
		`registry\.` + `npmjs\.org`, `npmjs` + `\.com`, `crates` + `\.io`, `--(extra-)?index` + `-url[= ]+https?://[^ "']+`, `https?://[^ "']+/simple` + `/`,
	}, "|"))
	reserved := regexp.MustCompile(`\.(example|invalid|test)\b|//(127\.0\.0\.1|localhost)[:/]`) // no index, whoever asks
	for _, path := range trackedFiles(t) {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil || !info.Mode().IsRegular() || info.Size() > 8<<20 {
			continue
		}
		for i, line := range bytes.Split([]byte(read(t, path)), []byte("\n")) {
			if m := hosts.Find(line); m != nil && !reserved.Match(append(m, '/')) {
				t.Errorf("%s:%d: names %s", path, i+1, m)
			}
		}
	}
}

func TestGoMod(t *testing.T) {
	t.Parallel()
	mod, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if mod.Module.Mod.Path != module {
		t.Errorf("module %s", mod.Module.Mod.Path)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod: replace %s: users who go install would not get it", r.Old.Path)
	}
}

func TestFilesOfTheHouse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "LICENSE", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Makefile", ".ci/run", ".github/workflows/ci.yaml", ".github/dependabot.yml", "docs/format.md"} {
		if read(t, name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	if n := strings.Count(read(t, "CONTRIBUTING.md"), "\n"); n > 120 {
		t.Errorf("CONTRIBUTING.md: %d lines, more than 120", n)
	}
}

var (
	targetPattern  = regexp.MustCompile(`(?m)^([a-zA-Z][a-zA-Z0-9_-]*):`)
	commandPattern = regexp.MustCompile("(?m)(?:^|[`$&;] *)make ([a-z][a-z-]*)")
)

// Every make target that a document tells the reader to type is there.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, m := range targetPattern.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, path := range []string{"README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/ci.yaml"} {
		text := strings.ReplaceAll(read(t, path), "- run: make", "make")
		for line := range strings.Lines(text) {
			for _, m := range commandPattern.FindAllStringSubmatch(strings.TrimSpace(line), -1) {
				if !targets[m[1]] {
					t.Errorf("%s: make %s: the Makefile has no such target", path, m[1])
				}
			}
		}
	}
}

var (
	versionHeading = regexp.MustCompile(`^## \[(Unreleased|\d+\.\d+\.\d+)\](?: - \d{4}-\d{2}-\d{2})?$`)
	linkPattern    = regexp.MustCompile(`(?m)^\[([^\]]+)\]: https://\S+$`)
)

func TestChangelog(t *testing.T) {
	t.Parallel()
	text := read(t, "CHANGELOG.md")
	links := map[string]bool{}
	for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
		links[m[1]] = true
	}
	var versions []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if section, ok := strings.CutPrefix(line, "### "); ok && !slices.Contains([]string{"Breaking", "Added", "Changed", "Fixed", "Security"}, section) {
			t.Errorf("section %q", section)
		}
		if !strings.HasPrefix(line, "## ") {
			continue
		}
		m := versionHeading.FindStringSubmatch(line)
		if m == nil || (m[1] == "Unreleased") == strings.Contains(line, " - ") {
			t.Errorf("heading %q: want [Unreleased], or [x.y.z] - yyyy-mm-dd", line)
			continue
		}
		versions = append(versions, m[1])
		if !links[m[1]] {
			t.Errorf("[%s] has no link below", m[1])
		}
	}
	if len(versions) == 0 || versions[0] != "Unreleased" {
		t.Errorf("versions %v: want [Unreleased] on top", versions)
	}
}
