// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/builder/wheel"
	"github.com/metalpack/metalpack/bundle"
)

// TestSelectAgainstPackaging: what Python's packaging selects from generated
// locks, we select, and what it refuses, we refuse (testdata/vectors.py).
func TestSelectAgainstPackaging(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Lock string              `json:"lock"`
		Want map[string][]string `json:"want"` // platform -> files; nil = an error
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for platform, want := range row.Want {
			p, err := bundle.ParsePlatform(platform)
			if err != nil {
				t.Fatal(err)
			}
			p.MacOS, p.Glibc = "15.0", "2.35"
			tg, err := target.New(p, "3.12.16")
			if err != nil {
				t.Fatal(err)
			}
			got, err := selectFiles(row.Lock, tg)
			if want == nil {
				if err == nil {
					t.Errorf("%s: got %q, packaging refuses\n%s", platform, got, row.Lock)
				}
				continue
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s\n%s", platform, err, row.Lock, diff)
			}
		}
	}
}

func selectFiles(text string, tg *target.Target) ([]string, error) {
	l, err := lock.Parse("pylock.toml", []byte(text))
	if err != nil {
		return nil, err
	}
	wheels, err := l.Select(tg)
	files := make([]string, 0, len(wheels))
	for _, w := range wheels {
		files = append(files, w.File)
	}
	slices.Sort(files)
	return files, err
}

// TestMadeWheels: rows of sources count when they say which wheel was made of
// them.
func TestMadeWheels(t *testing.T) {
	t.Parallel()
	const vcs = "vcs = { type = \"git\", url = \"https://git.test/a\", requested-revision = \"v1\", commit-id = \"c\", subdirectory = \"s\" }\n"
	made := func(file, sum string) string {
		return "[packages.tool.metalpack]\nfile = \"" + file + "\"\nsize = 7\nsha256 = \"" + sum + "\"\n"
	}
	row := func(source, tool string) string {
		return head + "[[packages]]\nname = \"a\"\nversion = \"1\"\n" + source + tool
	}
	want := []lock.Wheel{{Name: "a", Version: "1", File: "a-1-py3-none-any.whl", Size: 7, SHA256: sumA, Direct: true}}
	for name, source := range map[string]string{
		"vcs":       vcs,
		"path":      "vcs = { type = \"git\", path = \"../a\", commit-id = \"c\" }\n",
		"directory": "directory = { path = \".\" }\n",
		"sdist":     "sdist = { path = \"a-1.tar.gz\", hashes = { sha256 = \"x\" } }\n",
	} {
		l, err := lock.Parse("pylock.toml", []byte(row(source, made("a-1-py3-none-any.whl", sumA))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want[0].Origin = wheel.Origin{}
		if name == "vcs" {
			want[0].Origin = wheel.Origin{URL: "https://git.test/a", VCS: "git", Commit: "c", Revision: "v1", Subdirectory: "s"}
		}
		got, err := l.Select(linux(t))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for text, says := range map[string]string{
		row(vcs, made("../a-1-py3-none-any.whl", sumA)):          "want file, size and sha256",
		row(vcs, made("a-2-py3-none-any.whl", sumA)):             "another package or version",
		row(vcs, made("a-1-py3-none-any.whl", "no")):             "64 lower-case",
		row(vcs, made("a-1-cp312-cp312-win_amd64.whl", sumA)):    "no wheel for this target",
		row(vcs, "[packages.tool.metalpack]\nsha256 = \"no\"\n"): "want file, size and sha256",
		row(vcs, "[packages.tool.other]\nfile = \"a\"\n"):        "no content hash",
	} {
		_, err := selectFiles(text, linux(t))
		if !errors.Is(err, bundle.ErrInvalid) && !errors.Is(err, target.ErrNoWheel) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want one that says %q", err, says)
		}
	}
}
